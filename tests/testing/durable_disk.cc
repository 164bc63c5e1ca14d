#include "tests/testing/durable_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace dissonance {
namespace {

std::atomic<DurableDisk*> current = nullptr;

struct stat InfoOf(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) std::abort();
  return info;
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Of the kernel's own link, so that a renamed file has its new path.
std::string PathOf(int fd) {
  std::error_code error;
  return std::filesystem::read_symlink(absl::StrCat("/proc/self/fd/", fd),
                                       error);
}

}  // namespace

DurableDisk::DurableDisk(const std::string& root)
    : root_(std::filesystem::canonical(root)),
      root_inode_(InfoOf(root_).st_ino) {
  if (current.exchange(this) != nullptr) std::abort();
}

DurableDisk::~DurableDisk() { Stop(); }

void DurableDisk::Stop() {
  DurableDisk* self = this;
  current.compare_exchange_strong(self, nullptr);
}

int DurableDisk::sync_count() const {
  const absl::MutexLock lock(&mutex_);
  return static_cast<int>(states_.size()) - 1;
}

void DurableDisk::FailSyncsOf(const std::string& part) {
  const absl::MutexLock lock(&mutex_);
  failing_ = part;
}

int DurableDisk::OnSync(int fd) {
  const std::string path = PathOf(fd);
  if (!absl::StartsWith(path + "/", root_ + "/")) return 0;
  struct stat info {};
  if (::fstat(fd, &info) != 0) return errno;
  const absl::MutexLock lock(&mutex_);
  if (!failing_.empty() && absl::StrContains(path, failing_)) return EIO;
  State state = states_.back();
  if (S_ISDIR(info.st_mode)) {
    std::map<std::string, ino_t>& names = state.folders[info.st_ino];
    names.clear();
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      const struct stat found = InfoOf(entry.path());
      names[entry.path().filename()] = found.st_ino;
      // A folder, if only an empty one so far.
      if (S_ISDIR(found.st_mode)) state.folders.try_emplace(found.st_ino);
    }
  } else {
    state.files[info.st_ino] = std::make_shared<const std::string>(
        Contents(absl::StrCat("/proc/self/fd/", fd)));
  }
  states_.push_back(std::move(state));
  return 0;
}

void DurableDisk::WriteTo(const std::string& path, int sync_count) const {
  const absl::MutexLock lock(&mutex_);
  WriteFolder(states_.at(static_cast<size_t>(sync_count)), root_inode_, path);
}

void DurableDisk::WriteFolder(const State& state, ino_t folder,
                              const std::string& path) {
  const auto found = state.folders.find(folder);
  if (found == state.folders.end()) return;
  for (const auto& [name, inode] : found->second) {
    const std::string inside = absl::StrCat(path, "/", name);
    const auto file = state.files.find(inode);
    if (state.folders.contains(inode)) {
      std::filesystem::create_directory(inside);
      WriteFolder(state, inode, inside);
    } else {
      std::ofstream(inside, std::ios::binary)
          << (file == state.files.end() ? "" : *file->second);
    }
  }
}

}  // namespace dissonance

extern "C" {

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
int fsync(int fd) {
  dissonance::DurableDisk* const disk = dissonance::current;
  errno = disk == nullptr ? 0 : disk->OnSync(fd);
  if (errno != 0) return -1;
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

int fdatasync(int fd) { return fsync(fd); }
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

}  // extern "C"
