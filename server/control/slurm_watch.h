// Follows jobs of one name, and ends them. One thread does it all: it asks for
// all jobs at once, as the controller of a cluster is shared by everybody, and
// nobody else waits for a controller that is slow to answer. Thread safe.
//
//   SlurmWatch watch(slurm, {.name = "workers", .interval = absl::Seconds(5)});
//   const std::shared_ptr<FollowedJob> job = watch.Follow("12");
//   poll job->end_fd() for POLLIN;
//   log << job->end();
#ifndef DISSONANCE_SERVER_CONTROL_SLURM_WATCH_H_
#define DISSONANCE_SERVER_CONTROL_SLURM_WATCH_H_

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/control/slurm_commands.h"
#include "src/base/steady_wait.h"

namespace dissonance {

// What is known of a job. Thread safe.
class FollowedJob {
 public:
  explicit FollowedJob(const std::string& id);
  ~FollowedJob();
  FollowedJob(const FollowedJob&) = delete;
  FollowedJob& operator=(const FollowedJob&) = delete;

  const std::string& id() const { return id_; }
  // Readable once it has ended, which it does once.
  int end_fd() const { return end_fd_; }
  // As it was last seen.
  SlurmJob latest() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether it has ended and will not be run again.
  bool has_ended() const ABSL_LOCKS_EXCLUDED(mutex_);
  // How, as in "exit code 7 on node n1"; empty before.
  std::string end() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether somebody asked for its end.
  bool is_ending() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  friend class SlurmWatch;
  // What is wanted of it, in an order: nothing is taken back.
  enum class Wish { kNone, kTerminate, kKill, kCancel };

  const std::string id_;
  const int end_fd_;
  mutable absl::Mutex mutex_;
  SlurmJob latest_ ABSL_GUARDED_BY(mutex_);
  Wish wish_ ABSL_GUARDED_BY(mutex_) = Wish::kNone;
  absl::Duration wish_time_ ABSL_GUARDED_BY(mutex_);
  // What Slurm was told since it ran, and may not have done yet.
  Wish told_ ABSL_GUARDED_BY(mutex_) = Wish::kNone;
  std::string end_ ABSL_GUARDED_BY(mutex_);
  int missing_count_ = 0;  // listings without it, one after the other
};

class SlurmWatch {
 public:
  struct Options {
    std::string name;         // of the jobs
    absl::Duration interval;  // from one question to the next
    // The same soon after somebody asked for a job's end.
    absl::Duration short_interval = absl::Milliseconds(250);
  };

  SlurmWatch(const SlurmCommands& slurm, Options options);
  // Ends those whose end was asked for; does not wait for it.
  ~SlurmWatch();
  SlurmWatch(const SlurmWatch&) = delete;
  SlurmWatch& operator=(const SlurmWatch&) = delete;

  // REQUIRES: Slurm knows the job.
  std::shared_ptr<FollowedJob> Follow(const std::string& id)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // These return at once; they are tried until they succeed or the job has
  // ended.
  void Terminate(FollowedJob& job) { SetWish(job, Wish::kTerminate); }
  void Kill(FollowedJob& job) { SetWish(job, Wish::kKill); }

 private:
  using Wish = FollowedJob::Wish;
  using Jobs = std::vector<std::shared_ptr<FollowedJob>>;

  void Run();
  // Waits until it is time to ask again, or for news. Who is followed then.
  Jobs AwaitTurn() ABSL_LOCKS_EXCLUDED(mutex_);
  bool stopping() const ABSL_LOCKS_EXCLUDED(mutex_);
  void SetWish(FollowedJob& job, Wish wish) ABSL_LOCKS_EXCLUDED(mutex_);
  // Tells Slurm what is wanted of a job, as it was listed just now.
  void TellWish(FollowedJob& job) const;
  absl::Status Tell(const SlurmJob& job, Wish wish) const;
  // Whether it has ended, then with an end.
  bool Update(FollowedJob& job,
              const std::map<std::string, SlurmJob>& listed) const;
  // Whether Slurm answered.
  bool Ask(const Jobs& jobs) ABSL_LOCKS_EXCLUDED(mutex_);

  const SlurmCommands slurm_;
  const Options options_;
  mutable absl::Mutex mutex_;
  SteadyCondVar changes_;
  Jobs jobs_ ABSL_GUARDED_BY(mutex_);
  bool has_wishes_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Of the thread alone.
  absl::Duration last_question_ = -absl::InfiniteDuration();
  bool is_away_ = false;  // Slurm did not answer
  std::thread thread_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_SLURM_WATCH_H_
