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
#include "google/protobuf/util/delimited_message_util.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kSuffix[] = ".messages";
constexpr char kScheme[] = "sha256:";

void Report(const absl::Status& status) {
  std::fprintf(stderr, "an answer is not kept: %s\n",
               std::string(status.message()).c_str());
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
  for (const fs::directory_entry& file :
       fs::directory_iterator(folder_, error)) {
    const std::string name = file.path().filename().string();
    if (absl::EndsWith(name, kSuffix)) {
      found.emplace(file.last_write_time(error),
                    std::pair(kScheme + file.path().stem().string(),
                              static_cast<int64_t>(file.file_size(error))));
    } else if (absl::StrContains(name, absl::StrCat(kSuffix, ".tmp."))) {
      fs::remove(file.path(), error);
    }
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("reading ", folder_, ": ", error.message()));
  }
  for (const auto& [time, entry] : found) {
    const absl::MutexLock lock(&mutex_);
    bytes_ += entry.second;
    entries_[entry.first] = {entry.second,
                             uses_.insert(uses_.end(), entry.first)};
  }
  Reserve(0);
  return absl::OkStatus();
}

std::string ActivationStore::PathOf(const std::string& digest) const {
  return absl::StrCat(folder_, "/", digest.substr(sizeof(kScheme) - 1),
                      kSuffix);
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
  entries_[digest] = {bytes, uses_.insert(uses_.end(), digest)};
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
  // The order of use outlives the process.
  ::futimens(fd, nullptr);
  return std::unique_ptr<Reader>(new Reader(path, fd));
}

ActivationStore::Recording::Recording(ActivationStore& store,
                                      std::string digest)
    : store_(store), digest_(std::move(digest)) {
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(store_.PathOf(digest_));
  if (!file.ok()) {
    Report(file.status());
    return;
  }
  file_ = *std::move(file);
}

ActivationStore::Recording::~Recording() { Drop(); }

void ActivationStore::Recording::Drop() {
  if (!file_.has_value()) return;
  file_.reset();
  store_.Release(bytes_);
}

void ActivationStore::Recording::Add(const Message& message) {
  if (!file_.has_value()) return;
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream output(&bytes);
    google::protobuf::util::SerializeDelimitedToZeroCopyStream(message,
                                                               &output);
  }
  const auto size = static_cast<int64_t>(bytes.size());
  if (!store_.Reserve(size)) {
    Drop();
    return;
  }
  bytes_ += size;
  const absl::Status written = file_->Append(bytes);
  if (written.ok()) return;
  Report(written);
  Drop();
}

void ActivationStore::Recording::Commit() {
  if (!file_.has_value()) return;
  const absl::Status committed = file_->Commit();
  if (!committed.ok()) {
    Report(committed);
    Drop();
    return;
  }
  file_.reset();
  store_.Insert(digest_, bytes_);
}

absl::StatusOr<bool> ActivationStore::Reader::Next(Message& message) {
  bool is_end = false;
  message.Clear();
  if (google::protobuf::util::ParseDelimitedFromZeroCopyStream(
          &message, &input_, &is_end)) {
    return true;
  }
  if (is_end && input_.GetErrno() == 0) return false;
  return absl::DataLossError(
      absl::StrCat(path_,
                   " is damaged; the same request is computed anew "
                   "when it is sent again"));
}

}  // namespace dissonance
