// The files that the server keeps in its data directory beside database and
// artifacts. Paths only, and the making of folders; thread safe.
//
//   dissonanced.pid   owner.token   dissonance.sock   fencing
//   logs/worker.log   run/control   run/worker-N   activations/
//   uploads/   adapters/   and of a second worker logs/worker-1.log ...
#ifndef DISSONANCE_SERVER_CONTROL_DATA_FOLDER_H_
#define DISSONANCE_SERVER_CONTROL_DATA_FOLDER_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace dissonance {

class DataFolder {
 public:
  explicit DataFolder(std::string path) : path_(std::move(path)) {}

  // Makes the folders and takes away sockets that a crash left. Only while
  // this process holds the directory's lock.
  absl::Status Prepare() const;

  std::string pid_file() const { return path_ + "/dissonanced.pid"; }
  std::string owner_token() const { return path_ + "/owner.token"; }
  // Each worker has its own, numbered from the second on.
  std::string digest_cache(int worker) const {
    return path_ + "/digests" + Suffix(worker) + ".json";
  }
  std::string activation_store(int worker) const {
    return path_ + "/activations" + Suffix(worker);
  }
  std::string scratch(int worker) const {
    return path_ + "/scratch" + Suffix(worker);
  }
  std::string worker_log(int worker) const {
    return path_ + "/logs/worker" + Suffix(worker) + ".log";
  }
  std::string reserve() const { return path_ + "/reserve"; }
  std::string fencing_file() const { return path_ + "/fencing"; }
  std::string run() const { return path_ + "/run"; }
  std::string control_socket() const { return path_ + "/run/control"; }
  std::string worker_socket_prefix() const { return path_ + "/run/worker-"; }

 private:
  static std::string Suffix(int worker) {
    return worker == 0 ? "" : absl::StrCat("-", worker);
  }

  const std::string path_;
};

// The pid file, there as long as the object.
class PidFile {
 public:
  static absl::StatusOr<PidFile> Write(const std::string& path);
  ~PidFile();
  PidFile(PidFile&& other) noexcept;
  PidFile& operator=(PidFile&&) = delete;

 private:
  explicit PidFile(std::string path) : path_(std::move(path)) {}

  std::string path_;  // empty once moved from
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_DATA_FOLDER_H_
