// A worker for jobs inside the network, whose answers are a function of what it
// is asked; and finished jobs in memory. Can be told to fail. For one thread.
#ifndef DISSONANCE_TESTS_LAB_INTERP_FAKE_NETWORK_H_
#define DISSONANCE_TESTS_LAB_INTERP_FAKE_NETWORK_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/lab/interp/interp_client.h"
#include "src/lab/jobs/finished_jobs.h"
#include "src/lab/jobs/job_kind.h"
#include "tests/lab/eval/fake_compute.h"

namespace dissonance {

// Two blocks; rows have three numbers.
class FakeNetwork : public InterpClient {
 public:
  absl::StatusOr<v1::ScoreResponse> Score(const v1::ScoreRequest& request,
                                          const CallOptions& options) override;
  absl::StatusOr<v1::RenderChatResponse> RenderChat(
      const v1::RenderChatRequest& request,
      const CallOptions& options) override {
    return answers.RenderChat(request, options);
  }
  absl::StatusOr<v1::TokenizeResponse> Tokenize(
      const v1::TokenizeRequest& request, const CallOptions& options) override {
    return answers.Tokenize(request, options);
  }
  absl::StatusOr<v1::Model> GetModel(const std::string& name) override;
  absl::Status CheckVariant(const v1::Variant& variant) override {
    return answers.CheckVariant(variant);
  }
  absl::Status StreamActivations(
      const v1::StreamActivationsRequest& request, const CallOptions& options,
      MessageTaker<v1::StreamActivationsResponse> take) override;
  absl::Status LogitLens(const v1::LogitLensRequest& request,
                         const CallOptions& options,
                         MessageTaker<v1::LogitLensResponse> take) override;
  absl::StatusOr<v1::PatchResponse> Patch(const v1::PatchRequest& request,
                                          const CallOptions& options) override;
  absl::Status TrainProbes(const v1::TrainProbesRequest& request,
                           const CallOptions& options,
                           MessageTaker<v1::TrainProbesResponse> take) override;
  absl::StatusOr<v1::FitDirectionsResponse> FitDirections(
      const v1::FitDirectionsRequest& request,
      const CallOptions& options) override;
  absl::Status Generate(const v1::GenerateRequest& request,
                        const CallOptions& options,
                        MessageTaker<v1::GenerateResponse> take) override;

  FakeCompute answers;
  std::vector<v1::TrainProbesRequest> trained;
  std::vector<v1::LogitLensRequest> read;
  std::vector<v1::FitDirectionsRequest> fitted;
  std::vector<v1::StreamActivationsRequest> captured;
  // Messages of streams and Score calls that are given before the worker is
  // lost; negative: never lost.
  int messages_left = -1;
  // TrainProbes refuses more than these.
  size_t most_places = std::numeric_limits<size_t>::max();

 private:
  absl::Status Spend();
  v1::Provenance ProvenanceOf(const v1::Variant& variant) const;
};

// Jobs by name, with their files.
class FakeFinishedJobs : public FinishedJobs {
 public:
  absl::StatusOr<v1::Job> Find(const std::string& name) override {
    const auto found = jobs.find(name);
    if (found != jobs.end()) return found->second;
    return absl::NotFoundError("no such job");
  }
  absl::StatusOr<std::string> ReadOutput(const v1::Job& /*job*/,
                                         absl::string_view name) override {
    const auto found = files.find(std::string(name));
    if (found != files.end()) return found->second;
    return absl::NotFoundError("no such output");
  }

  std::map<std::string, v1::Job> jobs;
  std::map<std::string, std::string> files;
};

// models/m and its adapter a.
google::protobuf::RepeatedPtrField<v1::Variant> BaseAndAdapter();

// Runs the job until it ends, the worker being lost after `step` messages of
// each attempt, `step` growing by one each time. Gives how often it was lost.
int RunThroughLosses(JobKind& kind, const v1::JobSpec& spec,
                     FakeNetwork& network, FakeJob& job);

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_INTERP_FAKE_NETWORK_H_
