// A worker whose answers are a function of what it is asked, and a job that
// keeps its records in memory. Both can be told to fail. For one thread.
#ifndef DISSONANCE_TESTS_LAB_EVAL_FAKE_COMPUTE_H_
#define DISSONANCE_TESTS_LAB_EVAL_FAKE_COMPUTE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/eval/compute_client.h"
#include "src/lab/jobs/job_context.h"

namespace dissonance {

// A log-probability in (-20, 0] that depends on nothing but the key.
double FakeLogProb(absl::string_view key);

class FakeCompute : public ComputeClient {
 public:
  absl::StatusOr<v1::ScoreResponse> Score(const v1::ScoreRequest& request,
                                          const CallOptions& options) override;
  absl::StatusOr<v1::RenderChatResponse> RenderChat(
      const v1::RenderChatRequest& request,
      const CallOptions& options) override;
  absl::StatusOr<v1::TokenizeResponse> Tokenize(
      const v1::TokenizeRequest& request, const CallOptions& options) override;
  absl::StatusOr<v1::Model> GetModel(const std::string& name) override;
  absl::Status CheckVariant(const v1::Variant& variant) override;

  bool has_chat_template = true;
  int max_positions = 4096;
  // Requests of Score that were answered.
  std::vector<v1::ScoreRequest> requests;
  // Score number fail_at (from 0) and all later ones fail with `failure`.
  std::optional<size_t> fail_at;
  absl::Status failure = absl::UnavailableError("worker lost");
  // If set, given in place of every log-probability.
  std::optional<double> logprob;
  std::string adapter_digest = "sha256:adapter";
  std::string libtorch = "2.11.0";
  // The one token of every continuation; unset: each has its own.
  std::optional<int> token_id;

 private:
  v1::ItemScore ScoreItem(const v1::ScoreRequest& request, int variant_index,
                          int item_index, int sample_index) const;
};

class FakeJob : public JobContext {
 public:
  static v1::Job NewJob();

  const v1::Job& job() const override { return job_; }
  v1::Job& stored() { return job_; }
  bool cancelled() const override {
    return when_cancelled ? when_cancelled() : is_cancelled;
  }
  bool is_given_up() override { return gives_up; }
  DeviceSpend& spend() override { return *spend_; }
  absl::StatusOr<std::vector<std::string>> RecordedItems() override {
    return items;
  }
  absl::Status Record(const ItemBatch& batch) override;
  absl::Status Log(absl::string_view line) override;
  absl::Status AddOutput(absl::string_view file_name,
                         absl::string_view media_type,
                         absl::string_view contents, OutputKind kind) override;
  absl::StatusOr<std::unique_ptr<OutputWriter>> OpenOutput(
      absl::string_view file_name, absl::string_view media_type,
      OutputKind kind) override;
  absl::StatusOr<std::vector<v1::JobOutput>> Outputs() override;
  // DATA_LOSS if its contents are "damaged".
  absl::Status ReadOutput(
      absl::string_view file_name,
      absl::FunctionRef<absl::Status(std::string piece)> take) override;
  absl::Status RemoveOutput(absl::string_view file_name) override;
  absl::Status SetProvenance(
      absl::Span<const v1::Provenance> provenance) override;

  bool is_cancelled = false;
  bool gives_up = false;
  // If set, decides in place of is_cancelled.
  std::function<bool()> when_cancelled;
  std::vector<std::string> items;
  std::vector<int64_t> done_counts;
  std::vector<int64_t> total_counts;  // as each record told
  std::vector<v1::MetricPoint> metrics;
  std::vector<std::string> log;
  std::map<std::string, std::string> outputs;
  // Outputs and records that are still taken before the disk is full.
  std::optional<int> writes_left;
  // Names of outputs that the kind says to be other in every run.
  std::set<std::string> run_outputs;

 private:
  class Writer;
  absl::Status TakeWrite();

  v1::Job job_ = NewJob();
  // Shared by copies, which tests make of a job that has records.
  std::shared_ptr<DeviceSpend> spend_ = std::make_shared<DeviceSpend>();
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_EVAL_FAKE_COMPUTE_H_
