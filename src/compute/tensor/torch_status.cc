#include "src/compute/tensor/torch_status.h"

#include <c10/util/Exception.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace dissonance {
namespace {

constexpr size_t kMessageLimit = 500;

absl::string_view FirstLine(absl::string_view message) {
  return message.substr(0, message.find('\n')).substr(0, kMessageLimit);
}

// What follows `marker` up to the end of the sentence, e.g. "20.00 GiB" after
// "Tried to allocate ". Empty if the marker is not there.
absl::string_view After(absl::string_view message, absl::string_view marker) {
  const size_t at = message.find(marker);
  if (at == absl::string_view::npos) return {};
  const absl::string_view rest = message.substr(at + marker.size());
  const size_t unit = rest.find_first_of("Bb");
  if (unit == absl::string_view::npos) return {};
  const absl::string_view amount = rest.substr(0, unit + 1);
  return absl::StripSuffix(amount, " b");
}

// The CPU allocator reports failure as a plain c10::Error.
bool IsOutOfMemory(absl::string_view message) {
  return absl::StrContains(message, "DefaultCPUAllocator") ||
         absl::StrContains(message, "not enough memory") ||
         absl::StrContains(message, "out of memory");
}

absl::Status OutOfMemory(absl::string_view what, absl::string_view message) {
  std::string text = absl::StrCat(what, ": out of memory");
  const absl::string_view cpu_bytes = After(message, "tried to allocate ");
  const absl::string_view cuda_bytes = After(message, "Tried to allocate ");
  if (!cpu_bytes.empty()) absl::StrAppend(&text, ": ", cpu_bytes, " bytes");
  if (!cuda_bytes.empty()) absl::StrAppend(&text, ": ", cuda_bytes);
  if (!cpu_bytes.empty() || !cuda_bytes.empty()) {
    absl::StrAppend(&text, " asked");
  }
  const size_t free_at = message.find(" is free");
  if (free_at != absl::string_view::npos) {
    const size_t start = message.rfind("of which ", free_at);
    if (start != absl::string_view::npos) {
      absl::StrAppend(&text, ", ",
                      message.substr(start + 9, free_at - start - 9), " free");
    }
  }
  return absl::ResourceExhaustedError(text);
}

// A failed kernel leaves the device unusable for this process, whose every
// later call fails: it ends, so that another one takes its place.
void EndIfDeviceIsLost(absl::string_view what, absl::string_view message) {
  if (!absl::StrContains(message, "CUDA error:")) return;
  std::fprintf(stderr, "%s: %s; ending, because the device can't be used\n",
               std::string(what).c_str(),
               std::string(FirstLine(message)).c_str());
  std::abort();
}

}  // namespace

absl::Status CurrentExceptionToStatus(absl::string_view what) {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& e) {
    return OutOfMemory(what, e.what_without_backtrace());
  } catch (const c10::Error& e) {
    const absl::string_view message = e.what_without_backtrace();
    if (IsOutOfMemory(message)) return OutOfMemory(what, message);
    EndIfDeviceIsLost(what, message);
    return absl::InternalError(absl::StrCat(what, ": ", FirstLine(message)));
  } catch (const std::bad_alloc&) {
    return OutOfMemory(what, "");
  } catch (const std::exception& e) {
    const absl::string_view message = e.what();
    if (IsOutOfMemory(message)) return OutOfMemory(what, message);
    return absl::InternalError(absl::StrCat(what, ": ", FirstLine(message)));
  } catch (...) {
    return absl::InternalError(absl::StrCat(what, ": unknown exception"));
  }
}

}  // namespace dissonance
