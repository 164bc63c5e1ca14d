#include "tests/client/fake_interpretability.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace dissonance {
namespace {

constexpr int kPositions = 2;
constexpr int kBlocks = 2;
constexpr int kHeads = 2;
constexpr int kWidth = 3;

v1::RowLabel Label(int input, int position) {
  v1::RowLabel label;
  label.set_input_index(input);
  label.set_position(position);
  label.set_token_id('a' + position);
  return label;
}

bool BelongsToBlock(v1::Site site) {
  return site != v1::SITE_FINAL_NORM && site != v1::SITE_LOGITS;
}

void SetBlock(int block, v1::SiteRef& place) {
  if (block >= 0) place.set_block(block);
}

// One row: [1, 3], or [1, 2 heads, position + 1 keys] of a pattern.
v1::Tensor RowAt(v1::Site site, int input, int block, int position) {
  const bool is_pattern = site == v1::SITE_PATTERN;
  const int heads = is_pattern ? kHeads : 1;
  const int width = is_pattern ? position + 1 : kWidth;
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  tensor.add_shape(1);
  if (is_pattern) tensor.add_shape(heads);
  tensor.add_shape(width);
  std::vector<float> numbers;
  for (int i = 0; i < heads * width; ++i) {
    numbers.push_back(static_cast<float>(100 * input + 10 * std::max(block, 0) +
                                         position + 0.125 * i));
  }
  tensor.set_data(numbers.data(), numbers.size() * sizeof(float));
  return tensor;
}

// The rows of one input and the cursor behind them.
std::vector<v1::StreamActivationsResponse> MessagesOf(
    const v1::CaptureSpec& capture, int input) {
  std::vector<v1::StreamActivationsResponse> out;
  for (int position = 0; position < kPositions; ++position) {
    *out.emplace_back().mutable_rows()->add_rows() = Label(input, position);
    for (const int site : capture.sites()) {
      std::vector<int> blocks(capture.blocks().begin(), capture.blocks().end());
      if (blocks.empty()) blocks = {0, 1};
      if (!BelongsToBlock(static_cast<v1::Site>(site))) blocks = {-1};
      for (const int block : blocks) {
        v1::ActivationChunk& chunk = *out.emplace_back().mutable_chunk();
        chunk.mutable_place()->set_site(static_cast<v1::Site>(site));
        SetBlock(block, *chunk.mutable_place());
        *chunk.mutable_tensor() =
            RowAt(static_cast<v1::Site>(site), input, block, position);
      }
    }
  }
  out.emplace_back().set_cursor(absl::StrCat(input + 1));
  return out;
}

v1::Provenance ProvenanceOf(const v1::Variant& variant) {
  v1::Provenance provenance;
  provenance.set_model_digest("sha256:abc");
  provenance.set_adapter_digest(variant.adapter().empty() ? "" : "sha256:def");
  return provenance;
}

void FillLayer(const v1::LogitLensRequest& request, int block, double margin,
               v1::LensLayer& layer) {
  layer.mutable_place()->set_site(block < kBlocks ? request.sites().empty()
                                                        ? v1::SITE_RESID_POST
                                                        : request.sites(0)
                                                  : v1::SITE_FINAL_NORM);
  if (block < kBlocks) layer.mutable_place()->set_block(block);
  for (int c = 0; c < request.candidates_size(); ++c) {
    v1::CandidateReading& reading = *layer.add_candidates();
    reading.set_name(request.candidates(c).name());
    reading.set_token_id(request.candidates(c).token_id());
    reading.set_logit(c == 0 ? margin : 0);
    reading.set_logprob(-1);
    reading.set_prob(std::exp(-1));
    reading.set_rank(c);
  }
  if (request.candidates_size() >= 2) layer.set_margin(margin);
  for (int k = 0; k < request.top_k(); ++k) {
    layer.add_top()->set_token_id('x' + k);
  }
}

v1::ResidualDifference DifferenceOf(int block) {
  v1::ResidualDifference out;
  out.set_block(block);
  out.set_distance(block);
  if (block > 0) out.set_relative_distance(0.5 * block);
  out.set_lens_kl(0.25 * block);
  return out;
}

}  // namespace

FakeInterpretability::FakeInterpretability(Check check,
                                           const absl::Notification& stopping)
    : check_(std::move(check)), stopping_(stopping) {}

void FakeInterpretability::BreakAfter(std::vector<int> message_counts) {
  absl::MutexLock lock(&mutex_);
  breaks_ = std::move(message_counts);
}

void FakeInterpretability::Hang() {
  absl::MutexLock lock(&mutex_);
  hangs_ = true;
}

std::vector<std::string> FakeInterpretability::cursors() {
  absl::MutexLock lock(&mutex_);
  return cursors_;
}

v1::StreamActivationsRequest FakeInterpretability::last_activations() {
  absl::MutexLock lock(&mutex_);
  return last_activations_;
}

v1::LogitLensRequest FakeInterpretability::last_lens() {
  absl::MutexLock lock(&mutex_);
  return last_lens_;
}

v1::CompareVariantsRequest FakeInterpretability::last_compare() {
  absl::MutexLock lock(&mutex_);
  return last_compare_;
}

std::vector<v1::PatchRequest> FakeInterpretability::patches() {
  absl::MutexLock lock(&mutex_);
  return patches_;
}

grpc::Status FakeInterpretability::StreamActivations(
    grpc::ServerContext* context, const v1::StreamActivationsRequest* request,
    grpc::ServerWriter<v1::StreamActivationsResponse>* writer) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  int messages_left = std::numeric_limits<int>::max();
  bool hangs = false;
  {
    absl::MutexLock lock(&mutex_);
    cursors_.push_back(request->cursor());
    last_activations_ = *request;
    hangs = hangs_;
    if (!breaks_.empty()) {
      messages_left = breaks_.front();
      breaks_.erase(breaks_.begin());
    }
  }
  const int first =
      request->cursor().empty() ? 0 : std::stoi(request->cursor());
  for (int input = first; input < request->inputs_size(); ++input) {
    for (const auto& message : MessagesOf(request->capture(), input)) {
      if (messages_left-- == 0) {
        return {grpc::StatusCode::UNAVAILABLE, "the worker went away"};
      }
      writer->Write(message);
    }
  }
  while (hangs && !context->IsCancelled() &&
         !stopping_.WaitForNotificationWithTimeout(absl::Milliseconds(10))) {
  }
  v1::StreamActivationsResponse last;
  v1::ActivationSummary& summary = *last.mutable_summary();
  *summary.add_provenance() = ProvenanceOf(request->variants(0));
  summary.set_row_count(kPositions * (request->inputs_size() - first));
  summary.set_from_store(request->inputs(0).id() == "stored");
  writer->Write(last);
  return grpc::Status::OK;
}

grpc::Status FakeInterpretability::LogitLens(
    grpc::ServerContext* context, const v1::LogitLensRequest* request,
    grpc::ServerWriter<v1::LogitLensResponse>* writer) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  {
    absl::MutexLock lock(&mutex_);
    last_lens_ = *request;
  }
  const int positions =
      request->positions().set() == v1::POSITION_SET_ALL ? kPositions : 1;
  for (int v = 0; v < request->variants_size(); ++v) {
    const double sign = request->variants(v).adapter().empty() ? 1 : -1;
    for (int i = 0; i < request->inputs_size(); ++i) {
      for (int p = 0; p < positions; ++p) {
        v1::LogitLensResponse response;
        v1::LensPosition& position = *response.mutable_position();
        position.set_variant_index(v);
        *position.mutable_row() = Label(i, p);
        for (int block = 0; block <= kBlocks; ++block) {
          FillLayer(*request, block, block == 0 ? -1 : sign * block,
                    *position.add_layers());
        }
        if (request->candidates_size() >= 2) {
          position.set_breaking_block(sign > 0 ? 1 : 0);
        }
        writer->Write(response);
      }
    }
  }
  v1::LogitLensResponse last;
  last.mutable_summary();
  writer->Write(last);
  return grpc::Status::OK;
}

grpc::Status FakeInterpretability::CompareVariants(
    grpc::ServerContext* context, const v1::CompareVariantsRequest* request,
    grpc::ServerWriter<v1::CompareVariantsResponse>* writer) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  {
    absl::MutexLock lock(&mutex_);
    last_compare_ = *request;
  }
  for (int i = 0; i < request->inputs_size(); ++i) {
    for (int p = 0; p < kPositions; ++p) {
      v1::CompareVariantsResponse response;
      v1::ComparedPosition& position = *response.mutable_position();
      *position.mutable_row() = Label(i, p);
      for (int v = 0; v < request->variants_size(); ++v) {
        v1::VariantReading& reading = *position.add_readings();
        reading.set_variant_index(v);
        if (p + 1 < kPositions) reading.set_next_token_logprob(-1.5 - v);
        reading.set_kl(0.5 * v);
        for (int k = 0; k < request->top_k(); ++k) {
          reading.add_top()->set_token_id('x' + v);
        }
        for (int b = 0; v > 0 && b < kBlocks; ++b) {
          *reading.add_residual() = DifferenceOf(b);
        }
      }
      writer->Write(response);
    }
  }
  return grpc::Status::OK;
}

grpc::Status FakeInterpretability::Patch(grpc::ServerContext* context,
                                         const v1::PatchRequest* request,
                                         v1::PatchResponse* response) {
  if (grpc::Status status = check_(*context); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  patches_.push_back(*request);
  for (int block = 0; block < kBlocks; ++block) {
    for (int p = 0; p < kPositions; ++p) {
      v1::PatchResult& result = *response->add_results();
      result.mutable_place()->set_site(request->sites(0));
      result.mutable_place()->set_block(block);
      result.set_position(p);
      result.set_delta_before(-2);
      result.set_delta_after(-2 + 3 * block * p);
      result.set_flip(block * p == 1);
      result.set_delta_source(4);
    }
  }
  return grpc::Status::OK;
}

}  // namespace dissonance
