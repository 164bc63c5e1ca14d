#include "src/compute/tensor/safetensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <future>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/safetensors_header.h"
#include "src/compute/tensor/safetensors_stream.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and is used in place");

constexpr size_t kPrefixBytes = 16;
constexpr size_t kDigestReadBytes = size_t{1} << 20;

// `size` bytes from `offset` on, or fewer at the end of the file.
absl::StatusOr<std::string> ReadAt(int fd, uint64_t offset, size_t size,
                                   const std::string& path) {
  std::string bytes(size, '\0');
  size_t have = 0;
  while (have < size) {
    const ssize_t n = ::pread(fd, bytes.data() + have, size - have,
                              static_cast<off_t>(offset + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    }
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  bytes.resize(have);
  return bytes;
}

absl::StatusOr<uint64_t> FileSize(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a regular file"));
  }
  return static_cast<uint64_t>(info.st_size);
}

// What a file that is not safetensors looks like instead; empty: nothing known.
absl::string_view ForeignFormat(absl::string_view prefix) {
  const bool is_zip = absl::StartsWith(prefix, "PK\x03\x04");
  const bool is_pickle = prefix.size() >= 2 && prefix[0] == '\x80' &&
                         prefix[1] >= 2 && prefix[1] <= 5;
  if (is_zip || is_pickle) return kPickleAdvice;
  if (absl::StartsWith(prefix, "version https:/")) {
    return "it is a Git LFS pointer: fetch the real file with git lfs pull";
  }
  if (absl::StartsWith(prefix, "GGUF")) {
    return "it is a GGUF file: use the safetensors files of the same model";
  }
  return {};
}

// Length of the header's JSON, checked against the file. Nothing is allocated
// before this.
absl::StatusOr<uint64_t> HeaderLength(absl::string_view prefix,
                                      uint64_t file_bytes,
                                      const std::string& path) {
  const auto error = [&](absl::string_view reason) {
    const absl::string_view foreign = ForeignFormat(prefix);
    return absl::InvalidArgumentError(
        foreign.empty()
            ? absl::StrCat(path, ": ", reason)
            : absl::StrCat(path, " is not a safetensors file: ", foreign));
  };
  uint64_t length = 0;
  if (prefix.size() < sizeof(length)) {
    return error(absl::StrCat("the file has ", file_bytes,
                              " bytes, fewer than the 8 of the header's "
                              "length"));
  }
  std::memcpy(&length, prefix.data(), sizeof(length));
  if (length > kSafetensorsHeaderLimit) {
    return error(absl::StrCat("the header's length is ", length,
                              ", above the limit of ", kSafetensorsHeaderLimit,
                              " bytes"));
  }
  if (length > file_bytes - sizeof(length)) {
    return error(absl::StrCat("the header's length is ", length,
                              ", but the file has only ", file_bytes,
                              " bytes; it is incomplete, copy it again"));
  }
  if (length == 0) return error("the header is empty");
  if (prefix[sizeof(length)] != '{') {
    return error("the header does not begin with '{'");
  }
  return length;
}

bool IsBool(uint8_t byte) { return byte <= 1; }

}  // namespace

// The file's bytes, and the descriptor that tells its present length.
struct SafetensorsFile::Mapping {
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (data != nullptr) ::munmap(data, size);
    if (fd >= 0) ::close(fd);
  }

  int fd = -1;
  void* data = nullptr;
  size_t size = 0;
};

SafetensorsFile::~SafetensorsFile() = default;

absl::StatusOr<std::shared_ptr<SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path) {
  if (path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("a path must not contain a NUL byte");
  }
  auto mapping = std::make_shared<Mapping>();
  // O_NONBLOCK: a named pipe is refused below instead of waited for.
  mapping->fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (mapping->fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  ASSIGN_OR_RETURN(const uint64_t file_bytes, FileSize(mapping->fd, path));
  // The header is read, not mapped: a file that shrinks meanwhile gives a short
  // read here and no SIGBUS.
  ASSIGN_OR_RETURN(const std::string prefix,
                   ReadAt(mapping->fd, 0, kPrefixBytes, path));
  ASSIGN_OR_RETURN(const uint64_t length,
                   HeaderLength(prefix, file_bytes, path));
  ASSIGN_OR_RETURN(const std::string json,
                   ReadAt(mapping->fd, sizeof(length), length, path));
  ASSIGN_OR_RETURN(
      SafetensorsHeader header,
      ParseSafetensorsHeader(json, file_bytes - sizeof(length) - length, path));
  void* data = ::mmap(nullptr, file_bytes, PROT_READ, MAP_PRIVATE, mapping->fd,
                      /*offset=*/0);
  if (data == MAP_FAILED) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot map ", file_bytes, " bytes of ", path));
  }
  mapping->data = data;
  mapping->size = file_bytes;

  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile());
  file->path_ = path;
  file->file_bytes_ = file_bytes;
  file->tensors_ = std::move(header.tensors);
  file->metadata_ = std::move(header.metadata);
  file->mapping_ = std::move(mapping);
  return file;
}

absl::Status SafetensorsFile::CheckLength() const {
  ASSIGN_OR_RETURN(const uint64_t now, FileSize(mapping_->fd, path_));
  if (now >= file_bytes_) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      path_, " shrank from ", file_bytes_, " to ", now,
      " bytes while it was open; restore the file and load it again"));
}

absl::StatusOr<at::Tensor> SafetensorsFile::Load(absl::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return absl::NotFoundError(
        absl::StrCat(path_, " has no tensor ", QuoteTensorName(name)));
  }
  const TensorInfo& info = found->second;
  const SafetensorsDtype& dtype = *FindSafetensorsDtype(info.dtype);
  const std::string where =
      absl::StrCat(path_, ": tensor ", QuoteTensorName(name));
  if (!dtype.torch.has_value()) {
    return absl::UnimplementedError(
        absl::StrCat(where, " has dtype ", info.dtype,
                     ", which torch cannot hold; convert it to F32 or BF16"));
  }
  RETURN_IF_ERROR(CheckLength());
  const auto size = static_cast<size_t>(info.end - info.begin);
  auto* bytes = static_cast<uint8_t*>(mapping_->data) + info.begin;
  if (*dtype.torch == at::ScalarType::Bool &&
      !std::all_of(bytes, bytes + size, IsBool)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " has dtype BOOL and bytes other than 0 and 1"));
  }
  return CatchTorch(where, [&]() -> at::Tensor {
    const auto options = at::TensorOptions().dtype(*dtype.torch);
    const size_t alignment = c10::elementSize(*dtype.torch);
    if (size > 0 && reinterpret_cast<uintptr_t>(bytes) % alignment == 0) {
      return at::from_blob(
          bytes, info.shape, [mapping = mapping_](void* /*data*/) {}, options);
    }
    at::Tensor copy = at::empty(info.shape, options);
    if (size > 0) std::memcpy(copy.mutable_data_ptr(), bytes, size);
    return copy;
  });
}

absl::StatusOr<std::string> SafetensorsFile::PieceDigest(uint64_t begin) const {
  const uint64_t end = std::min(begin + kDigestPieceBytes, file_bytes_);
  Sha256 digest;
  while (begin < end) {
    const size_t want = std::min<uint64_t>(kDigestReadBytes, end - begin);
    ASSIGN_OR_RETURN(const std::string bytes,
                     ReadAt(mapping_->fd, begin, want, path_));
    if (bytes.size() < want) RETURN_IF_ERROR(CheckLength());
    digest.Update(bytes);
    begin += want;
  }
  return digest.Finish();
}

absl::StatusOr<std::string> SafetensorsFile::Digest(DigestCache* cache) const {
  if (cache == nullptr) return ComputeDigest();
  return cache->DigestOf(mapping_->fd, path_,
                         [this] { return ComputeDigest(); });
}

absl::StatusOr<std::string> SafetensorsFile::ComputeDigest() const {
  const uint64_t pieces =
      (file_bytes_ + kDigestPieceBytes - 1) / kDigestPieceBytes;
  std::vector<absl::StatusOr<std::string>> digests(
      pieces, absl::UnknownError("not read"));
  std::atomic<uint64_t> next = 0;
  const auto work = [&] {
    for (uint64_t i = next++; i < pieces; i = next++) {
      digests[i] = PieceDigest(i * kDigestPieceBytes);
    }
  };
  std::vector<std::future<void>> helpers;
  const uint64_t threads = std::min<uint64_t>(
      pieces, std::clamp(std::thread::hardware_concurrency(), 1U, 8U));
  for (uint64_t i = 1; i < threads; ++i) {
    helpers.push_back(std::async(std::launch::async, work));
  }
  work();
  for (const std::future<void>& helper : helpers) helper.wait();
  if (pieces == 1) return digests.front();
  Sha256 whole;
  for (const absl::StatusOr<std::string>& digest : digests) {
    RETURN_IF_ERROR(digest.status());
    whole.UpdateFramed(*digest);
  }
  return whole.Finish();
}

}  // namespace dissonance
