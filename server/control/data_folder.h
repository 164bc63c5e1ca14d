// The files that the server keeps in its data directory beside database and
// artifacts. Paths only, and the making of folders; thread safe.
//
//   dissonanced.pid   owner.token   dissonance.sock   fencing
//   logs/worker.log   run/control   run/worker-N   activations/
//   uploads/   adapters/
#ifndef DISSONANCE_SERVER_CONTROL_DATA_FOLDER_H_
#define DISSONANCE_SERVER_CONTROL_DATA_FOLDER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dissonance {

class DataFolder {
 public:
  explicit DataFolder(std::string path) : path_(std::move(path)) {}

  // Makes the folders and takes away sockets that a crash left. Only while
  // this process holds the directory's lock.
  absl::Status Prepare() const;

  // The newest fencing number of earlier runs, 0 if there were none.
  absl::StatusOr<int64_t> LastFencingNumber() const;

  std::string pid_file() const { return path_ + "/dissonanced.pid"; }
  std::string owner_token() const { return path_ + "/owner.token"; }
  std::string digest_cache() const { return path_ + "/digests.json"; }
  std::string activation_store() const { return path_ + "/activations"; }
  std::string scratch() const { return path_ + "/scratch"; }
  std::string reserve() const { return path_ + "/reserve"; }
  std::string fencing_file() const { return path_ + "/fencing"; }
  std::string worker_log() const { return path_ + "/logs/worker.log"; }
  std::string control_socket() const { return path_ + "/run/control"; }
  std::string worker_socket_prefix() const { return path_ + "/run/worker-"; }

 private:
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
