#include "server/worker/activation_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kSuffix[] = ".messages";
constexpr char kScheme[] = "sha256:";

constexpr char kTemporarySuffix[] = ".part";
// Left for others on the disk.
constexpr uintmax_t kHeadroomBytes = uintmax_t{1} << 30;

void Report(absl::string_view why) {
  std::fprintf(stderr, "an answer is not kept: %s\n", std::string(why).c_str());
}

// When the file was changed last, nanoseconds; 0 if that can't be read.
int64_t ChangeTime(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) return 0;
  return status.st_mtim.tv_sec * int64_t{1000000000} + status.st_mtim.tv_nsec;
}

bool HasSpace(const std::string& folder) {
  std::error_code error;
  const std::filesystem::space_info space =
      std::filesystem::space(folder, error);
  return !error && space.available > kHeadroomBytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActivationStore>> ActivationStore::Open(
    std::string folder, int64_t limit_bytes) {
  RETURN_IF_ERROR(MakeDirectories(folder));
  auto store = std::unique_ptr<ActivationStore>(
      new ActivationStore(std::move(folder), limit_bytes));
  RETURN_IF_ERROR(store->TakeOver());
  return store;
}

absl::Status ActivationStore::TakeOver() {
  namespace fs = std::filesystem;
  std::multimap<fs::file_time_type, std::pair<std::string, int64_t>> found;
  std::error_code error;
  fs::directory_iterator file(folder_, error);
  for (; !error && file != fs::directory_iterator(); file.increment(error)) {
    const std::string name = file->path().filename().string();
    std::error_code unreadable;
    const auto size =
        static_cast<int64_t>(fs::file_size(file->path(), unreadable));
    const auto time = fs::last_write_time(file->path(), unreadable);
    if (unreadable) continue;
    if (absl::EndsWith(name, kSuffix)) {
      found.emplace(time,
                    std::pair(kScheme + file->path().stem().string(), size));
    } else if (absl::EndsWith(name, kTemporarySuffix)) {
      fs::remove(file->path(), unreadable);
    }
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("reading ", folder_, ": ", error.message()));
  }
  for (const auto& [time, entry] : found) {
    const absl::MutexLock lock(&mutex_);
    bytes_ += entry.second;
    entries_[entry.first] = {.bytes = entry.second,
                             .use = uses_.insert(uses_.end(), entry.first)};
  }
  Reserve(0);
  return absl::OkStatus();
}

std::string ActivationStore::PathOf(const std::string& digest) const {
  return absl::StrCat(folder_, "/", digest.substr(sizeof(kScheme) - 1),
                      kSuffix);
}

std::string ActivationStore::NewTemporary(const std::string& digest) {
  const absl::MutexLock lock(&mutex_);
  return absl::StrCat(PathOf(digest), ".", next_recording_++, kTemporarySuffix);
}

bool ActivationStore::Reserve(int64_t bytes) {
  const absl::MutexLock lock(&mutex_);
  bytes_ += bytes;
  while (bytes_ > limit_bytes_ && !uses_.empty()) {
    Erase(std::string(uses_.front()));
  }
  if (bytes_ <= limit_bytes_) return true;
  bytes_ -= bytes;
  return false;
}

void ActivationStore::Release(int64_t bytes) {
  const absl::MutexLock lock(&mutex_);
  bytes_ -= bytes;
}

void ActivationStore::Insert(const std::string& digest, int64_t bytes) {
  const absl::MutexLock lock(&mutex_);
  const auto before = entries_.find(digest);
  if (before != entries_.end()) {
    // The same question was asked twice at once; the later file took the
    // earlier one's place.
    bytes_ -= before->second.bytes;
    uses_.erase(before->second.use);
    entries_.erase(before);
  }
  entries_[digest] = {.bytes = bytes,
                      .use = uses_.insert(uses_.end(), digest),
                      .own_time = ChangeTime(PathOf(digest))};
}

void ActivationStore::Erase(const std::string& digest) {
  const auto entry = entries_.find(digest);
  if (entry == entries_.end()) return;
  std::error_code ignored;
  std::filesystem::remove(PathOf(digest), ignored);
  bytes_ -= entry->second.bytes;
  uses_.erase(entry->second.use);
  entries_.erase(entry);
}

void ActivationStore::Remove(const std::string& digest) {
  const absl::MutexLock lock(&mutex_);
  Erase(digest);
}

int64_t ActivationStore::bytes() const {
  const absl::MutexLock lock(&mutex_);
  return bytes_;
}

std::unique_ptr<ActivationStore::Recording> ActivationStore::Record(
    const std::string& digest) {
  return std::unique_ptr<Recording>(new Recording(*this, digest));
}

std::unique_ptr<ActivationStore::Reader> ActivationStore::Find(
    const std::string& digest) {
  const std::string path = PathOf(digest);
  const absl::MutexLock lock(&mutex_);
  const auto entry = entries_.find(digest);
  if (entry == entries_.end()) return nullptr;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    Erase(digest);
    return nullptr;
  }
  uses_.splice(uses_.end(), uses_, entry->second.use);
  int64_t& own_time = entry->second.own_time;
  const bool is_own = own_time != 0 && own_time == ChangeTime(path);
  // The order of use outlives the process.
  ::futimens(fd, nullptr);
  own_time = is_own ? ChangeTime(path) : 0;
  return std::unique_ptr<Reader>(new Reader(path, fd, /*checks=*/!is_own));
}

ActivationStore::Recording::Recording(ActivationStore& store,
                                      std::string digest)
    : store_(store),
      digest_(std::move(digest)),
      temporary_(store.NewTemporary(digest_)),
      file_(temporary_, std::ios::binary | std::ios::trunc) {
  if (!file_) Report(absl::StrCat("cannot write ", temporary_));
}

ActivationStore::Recording::~Recording() { Drop(""); }

void ActivationStore::Recording::Drop(absl::string_view why) {
  if (!file_.is_open()) return;
  file_.close();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
  store_.Release(bytes_);
  if (!why.empty()) Report(why);
}

bool ActivationStore::Recording::Append(const Message& message) {
  if (!file_.is_open()) return false;
  const std::string bytes = message.SerializeAsString();
  std::string length;
  {
    google::protobuf::io::StringOutputStream output(&length);
    google::protobuf::io::CodedOutputStream(&output).WriteVarint32(
        static_cast<uint32_t>(bytes.size()));
  }
  const auto size = static_cast<int64_t>(length.size() + bytes.size());
  if (bytes_ + size > store_.limit_bytes_ / 2 || !HasSpace(store_.folder_) ||
      !store_.Reserve(size)) {
    Drop("");
    return false;
  }
  bytes_ += size;
  checksum_.UpdateFramed(bytes);
  if (file_ << length << bytes) return true;
  Drop(absl::StrCat("cannot write ", size, " bytes to ", temporary_));
  return false;
}

void ActivationStore::Recording::Add(const Message& message) {
  Append(message);
}

void ActivationStore::Recording::Commit() {
  // The checksum travels as a cursor with a summary, which nothing else is.
  Message end;
  end.mutable_summary();
  end.set_cursor(std::exchange(checksum_, Sha256()).Finish());
  if (!Append(end)) return;
  file_.flush();
  const bool is_whole = file_.good();
  std::error_code error;
  if (is_whole) {
    std::filesystem::rename(temporary_, store_.PathOf(digest_), error);
  }
  if (!is_whole || error) {
    Drop(absl::StrCat("cannot finish ", temporary_));
    return;
  }
  file_.close();
  store_.Insert(digest_, bytes_);
}

absl::StatusOr<bool> ActivationStore::Reader::Next(Message& message) {
  google::protobuf::io::CodedInputStream coded(&input_);
  uint32_t size = 0;
  std::string bytes;
  if (coded.ReadVarint32(&size) &&
      coded.ReadString(&bytes, static_cast<int>(size)) &&
      message.ParseFromString(bytes)) {
    if (!message.has_summary()) {
      if (checks_) checksum_.UpdateFramed(bytes);
      return true;
    }
    if (!checks_ ||
        message.cursor() == std::exchange(checksum_, Sha256()).Finish()) {
      message.Clear();
      return false;
    }
  }
  return absl::DataLossError(
      absl::StrCat(path_,
                   " is damaged; the same request is computed anew "
                   "when it is sent again"));
}

}  // namespace dissonance
