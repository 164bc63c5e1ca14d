#include "server/worker/interp_messages.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/ParallelGuard.h>

#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/worker/model_messages.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

constexpr int64_t kMaxInterventions = 1000;  // of a variant
constexpr int64_t kMaxCandidates = 1000;

using Op = Intervention::Op;

// In the order of Site.
constexpr v1::Site kSites[] = {
    v1::SITE_RESID_PRE, v1::SITE_Q,          v1::SITE_K,
    v1::SITE_V,         v1::SITE_PATTERN,    v1::SITE_Z,
    v1::SITE_ATTN_OUT,  v1::SITE_RESID_MID,  v1::SITE_MLP_HIDDEN,
    v1::SITE_MLP_OUT,   v1::SITE_RESID_POST, v1::SITE_FINAL_NORM,
    v1::SITE_LOGITS};

absl::StatusOr<Positions::Kind> KindOf(v1::PositionSet set) {
  switch (set) {
    case v1::POSITION_SET_ALL:
      return Positions::Kind::kAll;
    case v1::POSITION_SET_PROMPT:
      return Positions::Kind::kPrompt;
    case v1::POSITION_SET_LAST_PROMPT:
      return Positions::Kind::kLastPrompt;
    case v1::POSITION_SET_GENERATED:
      return Positions::Kind::kGenerated;
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          "positions.set: expected all, prompt, last_prompt or generated, "
          "found ",
          static_cast<int>(set)));
  }
}

// Everything but site and block.
absl::StatusOr<Intervention> ChangeOf(const v1::Intervention& message) {
  Intervention change;
  if (message.has_head()) change.head = message.head();
  ASSIGN_OR_RETURN(change.positions,
                   PositionsOf(message.positions(), Positions::Kind::kAll));
  switch (message.operation_case()) {
    case v1::Intervention::kAdd: {
      change.op = Op::kAdd;
      change.coefficient = message.add().coefficient();
      ASSIGN_OR_RETURN(change.vector, VectorOf(message.add().vector()));
      if (!message.add().unit_normalize()) break;
      const double length = change.vector.to(at::kDouble).norm().item<double>();
      if (length == 0.0) {
        return absl::InvalidArgumentError(
            "add.unit_normalize: the vector has no length");
      }
      change.coefficient /= length;
      break;
    }
    case v1::Intervention::kReplace: {
      change.op = Op::kSet;
      ASSIGN_OR_RETURN(change.vector, VectorOf(message.replace()));
      break;
    }
    case v1::Intervention::kProjectOut: {
      change.op = Op::kProjectOut;
      ASSIGN_OR_RETURN(change.vector, VectorOf(message.project_out()));
      break;
    }
    case v1::Intervention::kScale:
      change.op = Op::kScale;
      change.coefficient = message.scale().factor();
      break;
    case v1::Intervention::kZero:
      change.op = Op::kScale;
      change.coefficient = 0.0;
      break;
    default:
      return absl::InvalidArgumentError(
          "operation: expected one of add, replace, project_out, scale and "
          "zero");
  }
  return change;
}

absl::Status CheckCount(absl::string_view field, int64_t count, int64_t limit) {
  if (count <= limit) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": expected at most ", limit, ", found ", count));
}

// No more than the model has, and none that it has not.
absl::Status CheckBlocks(const Model& model,
                         const google::protobuf::RepeatedField<int32_t>& own) {
  for (const int32_t block : own) {
    RETURN_IF_ERROR(CheckSite(model.spec(), Site::kResidPost, block));
  }
  return CheckCount("blocks", own.size(), model.spec().block_count());
}

absl::Status AddChanges(const Model& model, const v1::Intervention& message,
                        Interventions& list) {
  ASSIGN_OR_RETURN(Intervention change, ChangeOf(message));
  ASSIGN_OR_RETURN(change.site, SiteOf(message.site()));
  if (IsBehindBlocks(change.site)) {
    change.block = -1;
    list.push_back(std::move(change));
    return absl::OkStatus();
  }
  if (message.blocks().empty()) {
    return absl::InvalidArgumentError("blocks: expected at least one");
  }
  RETURN_IF_ERROR(CheckBlocks(model, message.blocks()));
  for (const int32_t block : message.blocks()) {
    change.block = block;
    list.push_back(change);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Site> SiteOf(v1::Site site) {
  for (size_t i = 0; i < std::size(kSites); ++i) {
    if (kSites[i] == site) return static_cast<Site>(i);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("site: expected a Site such as SITE_RESID_POST, found ",
                   static_cast<int>(site)));
}

v1::SiteRef ToMessage(const SitePlace& place) {
  v1::SiteRef ref;
  ref.set_site(kSites[static_cast<size_t>(place.site)]);
  if (!IsBehindBlocks(place.site)) {
    ref.set_block(static_cast<int32_t>(place.block));
  }
  return ref;
}

absl::StatusOr<Positions> PositionsOf(const v1::Positions& positions,
                                      Positions::Kind otherwise) {
  Positions out = Positions::Of(otherwise);
  switch (positions.positions_case()) {
    case v1::Positions::kSet: {
      ASSIGN_OR_RETURN(out.kind, KindOf(positions.set()));
      break;
    }
    case v1::Positions::kRange:
      out =
          Positions::Range(positions.range().begin(), positions.range().end());
      break;
    case v1::Positions::kIndices:
      out = Positions::Indices({positions.indices().indices().begin(),
                                positions.indices().indices().end()});
      break;
    default:
      break;
  }
  RETURN_IF_ERROR(Annotate(CheckPositions(out), "positions"));
  return out;
}

absl::StatusOr<std::vector<SitePlace>> PlacesOf(
    const Model& model, const google::protobuf::RepeatedField<int>& sites,
    const google::protobuf::RepeatedField<int32_t>& blocks) {
  if (sites.empty()) {
    return absl::InvalidArgumentError("sites: expected at least one");
  }
  RETURN_IF_ERROR(CheckCount("sites", sites.size(), std::size(kSites)));
  RETURN_IF_ERROR(CheckBlocks(model, blocks));
  std::vector<int64_t> wanted(blocks.begin(), blocks.end());
  if (wanted.empty()) {
    for (int64_t b = 0; b < model.spec().block_count(); ++b) {
      wanted.push_back(b);
    }
  }
  std::vector<SitePlace> places;
  for (const int number : sites) {
    ASSIGN_OR_RETURN(const Site site, SiteOf(static_cast<v1::Site>(number)));
    if (IsBehindBlocks(site)) {
      places.push_back({site, -1});
      continue;
    }
    for (const int64_t block : wanted) {
      RETURN_IF_ERROR(CheckSite(model.spec(), site, block));
      places.push_back({site, block});
    }
  }
  return places;
}

absl::StatusOr<SitePlace> PlaceOf(const Model& model, const v1::SiteRef& ref) {
  ASSIGN_OR_RETURN(const Site site, SiteOf(ref.site()));
  if (IsBehindBlocks(site)) return SitePlace{site, -1};
  if (!ref.has_block()) {
    return absl::InvalidArgumentError(
        absl::StrCat("block: expected the one of ", SiteName(site)));
  }
  RETURN_IF_ERROR(CheckSite(model.spec(), site, ref.block()));
  return SitePlace{site, ref.block()};
}

absl::StatusOr<at::Tensor> VectorOf(const v1::VectorRef& ref) {
  if (ref.has_direction()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "vector.direction: ", ref.direction(),
        " is a name, which the control plane knows, not its worker; give the "
        "numbers as vector.tensor"));
  }
  if (!ref.has_tensor()) {
    return absl::InvalidArgumentError("vector: expected a tensor");
  }
  absl::StatusOr<at::Tensor> tensor = TensorOf(ref.tensor());
  return tensor.ok() ? std::move(tensor)
                     : Annotate(tensor.status(), "vector.tensor");
}

absl::StatusOr<std::shared_ptr<const CaptureSpec>> CaptureOf(
    const Model& model, const v1::CaptureSpec& capture) {
  CaptureSpec spec;
  ASSIGN_OR_RETURN(spec.places,
                   PlacesOf(model, capture.sites(), capture.blocks()));
  ASSIGN_OR_RETURN(spec.positions,
                   PositionsOf(capture.positions(), Positions::Kind::kAll));
  return PrepareCapture(model, std::move(spec));
}

absl::StatusOr<std::shared_ptr<const Interventions>> InterventionsOf(
    const Model& model,
    const google::protobuf::RepeatedPtrField<v1::Intervention>& messages) {
  Interventions list;
  RETURN_IF_ERROR(
      CheckCount("interventions", messages.size(), kMaxInterventions));
  for (int i = 0; i < messages.size(); ++i) {
    const size_t begin = list.size();
    RETURN_IF_ERROR(Annotate(AddChanges(model, messages[i], list),
                             absl::StrCat("interventions[", i, "]")));
    // Checked one message at a time, so that the error names it.
    for (size_t own = begin; own < list.size(); ++own) {
      RETURN_IF_ERROR(Annotate(CheckIntervention(model, list[own]),
                               absl::StrCat("interventions[", i, "]")));
    }
  }
  return PrepareInterventions(model, std::move(list));
}

absl::StatusOr<std::vector<int32_t>> CandidateTokens(
    const Model& model,
    const google::protobuf::RepeatedPtrField<v1::Candidate>& candidates) {
  RETURN_IF_ERROR(CheckCount("candidates", candidates.size(), kMaxCandidates));
  std::vector<int32_t> tokens;
  for (int i = 0; i < candidates.size(); ++i) {
    const int32_t token = candidates[i].token_id();
    if (token < 0 || token >= model.spec().vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "candidates[", i, "].token_id: ", token,
          " is not in the vocabulary of ", model.spec().vocab_size, " tokens"));
    }
    tokens.push_back(token);
  }
  return tokens;
}

absl::Status CheckInPrompts(const Positions& positions,
                            const std::vector<EncodedPrompt>& prompts,
                            const Inputs& inputs) {
  if (positions.kind == Positions::Kind::kGenerated) {
    return absl::InvalidArgumentError(
        "positions: only the prompt is computed, so there are no generated "
        "ones");
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto count = static_cast<int64_t>(prompts[i].tokens.size());
    int64_t behind = -1;
    if (positions.kind == Positions::Kind::kRange) behind = positions.begin;
    for (const int64_t index : positions.indices) {
      behind = std::max(behind, index);
    }
    if (behind < count) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("positions: ", behind, " is behind the end of ",
                     InputLabel(inputs, static_cast<int>(i)), ", which has ",
                     count, " tokens"));
  }
  return absl::OkStatus();
}

void FillLabel(int input, int64_t position, const std::vector<int32_t>& tokens,
               v1::RowLabel& label) {
  label.set_input_index(input);
  label.set_position(static_cast<int32_t>(position));
  label.set_token_id(tokens[static_cast<size_t>(position)]);
}

absl::StatusOr<at::Tensor> TensorOf(const v1::Tensor& message) {
  ASSIGN_OR_RETURN(const std::optional<at::ScalarType> dtype,
                   FromMessage(message.dtype()));
  if (!dtype.has_value()) {
    return absl::InvalidArgumentError("dtype: not chosen");
  }
  int64_t count = 1;
  for (const int64_t size : message.shape()) {
    if (size < 0 || (size > 0 && count > (int64_t{1} << 40) / size)) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape: no tensor has a size of ", size));
    }
    count *= size;
  }
  const auto bytes = static_cast<size_t>(count) * c10::elementSize(*dtype);
  if (message.data().size() != bytes) {
    return absl::InvalidArgumentError(absl::StrCat("data: type and shape need ",
                                                   bytes, " bytes, found ",
                                                   message.data().size()));
  }
  return CatchTorch("tensor", [&] {
    const std::vector<int64_t> shape(message.shape().begin(),
                                     message.shape().end());
    at::Tensor tensor = at::empty(shape, *dtype);
    std::memcpy(tensor.mutable_data_ptr(), message.data().data(), bytes);
    return tensor;
  });
}

void FillTensor(const at::Tensor& tensor, at::ScalarType dtype,
                v1::Tensor& message) {
  message.set_dtype(ToMessage(dtype));
  for (const int64_t size : tensor.sizes()) message.add_shape(size);
  std::string& data = *message.mutable_data();
  data.resize(static_cast<size_t>(tensor.numel()) * c10::elementSize(dtype));
  if (data.empty()) return;
  at::Tensor target =
      at::from_blob(data.data(), tensor.sizes(), at::TensorOptions(dtype));
  // The other processors are the engine's.
  const c10::ParallelGuard serial(/*state=*/true);
  target.copy_(tensor);
}

}  // namespace dissonance
