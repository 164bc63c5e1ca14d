// Any bytes as a safetensors file: Open and Load answer or refuse, and touch
// nothing outside the file.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "src/compute/tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int fd = ::memfd_create("input", MFD_CLOEXEC);
  if (fd < 0) std::abort();
  const absl::Cleanup close_fd = [fd] { ::close(fd); };
  if (::write(fd, data, size) != static_cast<ssize_t>(size)) std::abort();
  const auto file =
      dissonance::SafetensorsFile::Open(absl::StrCat("/proc/self/fd/", fd));
  if (!file.ok()) return 0;
  for (const auto& [name, info] : (*file)->tensors()) {
    const auto tensor = (*file)->Load(name);
    if (!tensor.ok()) continue;
    if (tensor->nbytes() != info.end - info.begin) std::abort();
    const auto* bytes = static_cast<const uint8_t*>(tensor->const_data_ptr());
    uint8_t sum = 0;
    for (size_t i = 0; i < tensor->nbytes(); ++i) sum ^= bytes[i];
    volatile uint8_t all_were_read = sum;
    (void)all_were_read;
  }
  return 0;
}
