#include "bench/engine_bench.h"

#include <ATen/ops/from_blob.h>

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/compute/engine/device_defaults.h"
#include "src/compute/interp/capture.h"
#include "src/compute/interp/intervention.h"
#include "src/compute/model/site.h"
#include "src/compute/tensor/dtype.h"

namespace dissonance {
namespace {

using nlohmann::json;

// `read` throws what nlohmann::json throws.
template <typename Read>
absl::Status FromJson(Read read) {
  try {
    read();
    return absl::OkStatus();
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("request: ", e.what()));
  }
}

absl::StatusOr<Site> ParseSite(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(Site::kLogits); ++i) {
    const Site site = static_cast<Site>(i);
    if (SiteName(site) == name) return site;
  }
  return absl::InvalidArgumentError(absl::StrCat("no site is named ", name));
}

absl::StatusOr<Positions> ParsePositions(const std::string& name) {
  if (name == "all") return Positions::Of(Positions::Kind::kAll);
  if (name == "last_prompt") {
    return Positions::Of(Positions::Kind::kLastPrompt);
  }
  if (name == "generated") return Positions::Of(Positions::Kind::kGenerated);
  return absl::InvalidArgumentError(
      absl::StrCat("no positions are named ", name));
}

absl::StatusOr<std::shared_ptr<const Interventions>> ReadSteering(
    const Model& model, const json& steer) {
  Intervention add;
  std::vector<float> vector;
  std::vector<int64_t> blocks;
  RETURN_IF_ERROR(FromJson([&] {
    blocks = steer.at("blocks").get<std::vector<int64_t>>();
    add.coefficient = steer.at("coefficient").get<double>();
    vector = steer.at("vector").get<std::vector<float>>();
  }));
  add.vector =
      at::from_blob(vector.data(), {static_cast<int64_t>(vector.size())})
          .clone();
  Interventions added(blocks.size(), add);
  for (size_t i = 0; i < blocks.size(); ++i) added[i].block = blocks[i];
  return PrepareInterventions(model, std::move(added));
}

// Of each place the numbers of all rows.
json RowsOf(const std::vector<CapturedRows>& captured) {
  std::vector<std::vector<double>> rows;
  for (const CapturedRows& part : captured) {
    rows.resize(part.values.size());
    for (size_t place = 0; place < rows.size(); ++place) {
      const at::Tensor values =
          part.values[place].to(at::kCPU, at::kDouble).contiguous();
      const double* begin = values.const_data_ptr<double>();
      rows[place].insert(rows[place].end(), begin, begin + values.numel());
    }
  }
  return rows;
}

}  // namespace

// Collects what comes of one item. Written by the engine's thread until the
// end is notified.
class EngineBench::Result final : public GenerateListener {
 public:
  bool OnToken(GeneratedToken token) override {
    tokens_.push_back(token.token);
    logprobs_.push_back(token.logprob);
    return true;
  }
  void OnCaptured(CapturedRows rows) override {
    captured_.push_back(std::move(rows));
  }
  void OnEnd(absl::StatusOr<FinishReason> reason) override {
    status_ = reason.status();
    ended_.Notify();
  }
  void OnScored(absl::StatusOr<ScoreResult> result) {
    status_ = result.status();
    if (result.ok()) score_ = *std::move(result);
    ended_.Notify();
  }

  absl::Status Wait() const {
    ended_.WaitForNotification();
    return status_;
  }
  json ToJson(bool with_values) const {
    if (score_.has_value()) {
      std::vector<double> scores;
      for (const ContinuationResult& one : score_->continuations) {
        scores.push_back(one.logprob);
      }
      return {{"scores", scores}};
    }
    return {{"tokens", tokens_},
            {"logprobs", logprobs_},
            {"rows", with_values ? RowsOf(captured_) : json::array()}};
  }

 private:
  std::vector<int32_t> tokens_;
  std::vector<double> logprobs_;
  std::vector<CapturedRows> captured_;
  std::optional<ScoreResult> score_;
  absl::Status status_;
  absl::Notification ended_;
};

absl::StatusOr<std::unique_ptr<EngineBench>> EngineBench::Create(
    const std::string& line) {
  ASSIGN_OR_RETURN(const json request, ParseJson(line, "stdin"));
  std::string directory, device_name, dtype_name;
  bool is_job = false;
  std::vector<std::string> adapters;
  RETURN_IF_ERROR(FromJson([&] {
    directory = request.at("model").get<std::string>();
    adapters = request.value("adapters", adapters);
    device_name = request.value("device", "cpu");
    dtype_name = request.value("dtype", "");
    is_job = request.value("job", false);
  }));
  ModelOptions options;
  ASSIGN_OR_RETURN(options.device, ParseDevice(device_name));
  if (options.device.is_cuda()) RETURN_IF_ERROR(OpenCudaLibraries());
  if (!dtype_name.empty()) {
    ASSIGN_OR_RETURN(options.dtype, ParseDtype(dtype_name));
  }
  std::unique_ptr<EngineBench> bench(new EngineBench);
  ASSIGN_OR_RETURN(bench->model_, Model::Load(directory, options));
  for (const std::string& adapter : adapters) {
    ASSIGN_OR_RETURN(bench->adapters_.emplace_back(),
                     LoraAdapter::Load(adapter, *bench->model_));
  }
  if (is_job) bench->priority_ = Priority::kJob;
  EngineOptions engine{
      .step_tokens = 0, .decode_step_tokens = 0, .kv_cache_bytes = 0};
  FillDeviceDefaults(options.device, engine);
  bench->engine_.emplace(engine).Start();
  return bench;
}

absl::StatusOr<std::string> EngineBench::Answer(const std::string& line) {
  ASSIGN_OR_RETURN(const json request, ParseJson(line, "stdin"));
  ASSIGN_OR_RETURN(const auto capture, ReadCapture(request));
  if (!request.contains("items")) {
    return absl::InvalidArgumentError("request: no items");
  }
  std::vector<Item> items;
  for (const json& entry : request["items"]) {
    ASSIGN_OR_RETURN(items.emplace_back(), ReadItem(entry));
  }
  std::vector<std::shared_ptr<Result>> results;
  const absl::Time start = absl::Now();
  for (Item& item : items) {
    results.push_back(std::make_shared<Result>());
    RETURN_IF_ERROR(Submit(std::move(item), capture, results.back()));
  }
  for (const auto& result : results) RETURN_IF_ERROR(result->Wait());
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  const bool with_values =
      capture != nullptr && request["capture"].value("values", true);
  json answers = json::array();
  for (const auto& result : results) {
    answers.push_back(result->ToJson(with_values));
  }
  return ToJsonLine({{"items", answers}, {"seconds", seconds}});
}

absl::StatusOr<EngineBench::Item> EngineBench::ReadItem(
    const json& entry) const {
  Item item;
  item.variant.model = model_;
  RETURN_IF_ERROR(FromJson([&] {
    item.prompt = entry.at("prompt").get<std::vector<int32_t>>();
    item.continuations = entry.value("continuations", item.continuations);
    item.new_tokens = entry.value("new_tokens", item.new_tokens);
    if (entry.contains("adapter")) {
      item.variant.adapter = adapters_.at(entry["adapter"].get<size_t>());
    }
  }));
  if (entry.contains("steer")) {
    ASSIGN_OR_RETURN(item.variant.interventions,
                     ReadSteering(*model_, entry["steer"]));
  }
  return item;
}

absl::StatusOr<std::shared_ptr<const CaptureSpec>> EngineBench::ReadCapture(
    const json& request) const {
  if (!request.contains("capture")) return nullptr;
  std::vector<std::pair<std::string, int64_t>> places;
  std::string positions;
  RETURN_IF_ERROR(FromJson([&] {
    const json& capture = request["capture"];
    places = capture.at("places").get<decltype(places)>();
    positions = capture.at("positions").get<std::string>();
  }));
  CaptureSpec spec;
  ASSIGN_OR_RETURN(spec.positions, ParsePositions(positions));
  for (const auto& [name, block] : places) {
    ASSIGN_OR_RETURN(const Site site, ParseSite(name));
    spec.places.push_back({site, block});
  }
  return PrepareCapture(*model_, std::move(spec));
}

absl::Status EngineBench::Submit(Item item,
                                 std::shared_ptr<const CaptureSpec> capture,
                                 const std::shared_ptr<Result>& result) {
  if (!item.continuations.empty()) {
    return engine_
        ->SubmitScore(
            std::move(item.variant),
            {.prompt = std::move(item.prompt),
             .continuations = std::move(item.continuations)},
            [result](absl::StatusOr<ScoreResult> score) {
              result->OnScored(std::move(score));
            },
            priority_)
        .status();
  }
  return engine_
      ->SubmitGenerate(std::move(item.variant),
                       {.prompt = std::move(item.prompt),
                        .max_new_tokens = item.new_tokens,
                        .capture = std::move(capture)},
                       result, priority_)
      .status();
}

}  // namespace dissonance
