// A Slurm cluster of the test's own: munged, slurmctld and nodes n1, n2 and so
// on of one processor each, all of them processes of this machine. Whatever
// it started ends with it. Needs no root; runs jobs of this user alone. Not
// thread safe. One at a time in a process, as commands find it by SLURM_CONF,
// which is set while it lives.
//
//   if (!SlurmCluster::IsInstalled()) GTEST_SKIP() << SlurmCluster::kMissing;
//   SlurmCluster cluster;
//   ASSERT_TRUE(cluster.AwaitReady());
//   cluster.Requeue(job);
#ifndef DISSONANCE_TESTS_TESTING_SLURM_CLUSTER_H_
#define DISSONANCE_TESTS_TESTING_SLURM_CLUSTER_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/control/child_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

class SlurmCluster {
 public:
  static constexpr char kMissing[] =
      "Slurm is not installed here; apt-get install slurmctld slurmd "
      "slurm-client munge";
  // Long enough for a machine that is busy with other tests.
  static constexpr absl::Duration kPatience = absl::Seconds(120);
  // Jobs of kUrgent push those of the default partition, which are run again,
  // and those of kSpot, which are not, from their nodes.
  static constexpr char kUrgent[] = "urgent";
  static constexpr char kSpot[] = "spot";

  struct Job {
    std::string id;
    std::string name;
    std::string state;  // e.g. "RUNNING"
    std::string node;   // empty: none
  };

  static bool IsInstalled();

  // Starts it; does not wait.
  explicit SlurmCluster(int node_count = 2);
  // Kills all jobs, and every process of the cluster and of its jobs.
  ~SlurmCluster();
  SlurmCluster(const SlurmCluster&) = delete;
  SlurmCluster& operator=(const SlurmCluster&) = delete;

  // Waits until all nodes take jobs. False, with the logs, if they don't.
  bool AwaitReady();

  // All, also those that ended some seconds ago.
  std::vector<Job> Jobs() const;
  // Of one job; "" if Slurm doesn't know it (any more).
  std::string StateOf(const std::string& id) const;
  // Waits until it is so; fails the test if it never is. Asks all the time.
  bool Await(const std::function<bool()>& is_so) const;
  bool AwaitState(const std::string& id, const std::string& state) const;

  // Whether it is not to run (any more).
  bool HasEnded(const std::string& id) const;
  // Ends all and waits for that.
  void CancelAll() const;
  void Cancel(const std::string& id) const;
  // Has a running job run again from the start, after 5 s.
  void Requeue(const std::string& id) const;
  // What an administrator, or the loss of the node, does; jobs that ran there
  // run again elsewhere, and go on running there until its daemon is told.
  void SetDown(const std::string& node) const;
  void SetUp(const std::string& node) const;
  // A script that only sleeps, in `partition`. The job.
  std::string SubmitSleep(const std::string& partition, int nodes = 1) const;

  // The daemon's of a node, to be stopped with SIGSTOP and gone on with.
  pid_t NodePid(const std::string& node) const;
  // The controller writes down what it knows, and knows it when it is started
  // again.
  void StopController();
  void StartController();

  // For processes that are to use it too.
  const std::string& conf() const { return conf_; }

 private:
  void WriteConf();
  void Start(const std::string& name, const std::string& program,
             std::vector<std::string> arguments);
  // What a daemon wrote.
  std::string Log(const std::string& name) const;
  // What a command wrote; "" if it failed.
  static std::string Output(const std::string& program,
                            std::vector<std::string> arguments);
  // Those of jobs, with what started them, which outlive the daemons.
  std::vector<pid_t> JobProcesses() const;

  const std::vector<std::string> nodes_;
  const TempFolder folder_;
  const std::string conf_;
  std::map<std::string, std::unique_ptr<ChildProcess>> daemons_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_SLURM_CLUSTER_H_
