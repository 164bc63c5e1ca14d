#include "server/worker/model_messages.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace dissonance {

v1::DType ToMessage(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return v1::DTYPE_FLOAT32;
    case at::kBFloat16:
      return v1::DTYPE_BFLOAT16;
    case at::kDouble:
      return v1::DTYPE_FLOAT64;
    default:
      return v1::DTYPE_UNSPECIFIED;
  }
}

absl::StatusOr<std::optional<at::ScalarType>> FromMessage(v1::DType dtype) {
  using Result = std::optional<at::ScalarType>;
  switch (dtype) {
    case v1::DTYPE_UNSPECIFIED:
      return Result();
    case v1::DTYPE_FLOAT32:
      return Result(at::kFloat);
    case v1::DTYPE_BFLOAT16:
      return Result(at::kBFloat16);
    case v1::DTYPE_FLOAT64:
      return Result(at::kDouble);
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("dtype: ", static_cast<int>(dtype),
                       " is none of DTYPE_FLOAT32, DTYPE_BFLOAT16 and "
                       "DTYPE_FLOAT64"));
  }
}

v1::Model ToMessage(const ResidentModel& resident) {
  const Model& model = *resident.model;
  const DecoderSpec& spec = model.spec();
  v1::Model out;
  out.set_name(resident.name);
  out.set_path(resident.path);
  out.set_pinned(resident.pinned);
  out.set_architecture(spec.architecture);
  out.set_dtype(ToMessage(model.dtype()));
  out.set_device(model.device().str());
  out.set_parameter_count(model.weights().parameter_count);
  out.set_resident_bytes(model.weights().bytes);
  out.set_block_count(static_cast<int32_t>(spec.block_count()));
  out.set_d_model(static_cast<int32_t>(spec.d_model));
  out.set_head_count(static_cast<int32_t>(spec.head_count));
  out.set_kv_head_count(static_cast<int32_t>(spec.kv_head_count));
  out.set_vocab_size(static_cast<int32_t>(spec.vocab_size));
  out.set_max_position_count(static_cast<int32_t>(spec.max_positions));
  out.set_digest(model.digest());
  if (resident.tokenizer != nullptr) {
    out.set_tokenizer_digest(resident.tokenizer->digest());
  }
  out.set_has_chat_template(resident.chat_template != nullptr);
  out.set_resident(true);
  return out;
}

v1::Adapter ToMessage(const ResidentAdapter& resident) {
  const LoraAdapter& adapter = *resident.adapter;
  v1::Adapter out;
  out.set_name(resident.name);
  out.set_path(resident.path);
  out.set_digest(adapter.digest());
  out.set_rank(static_cast<int32_t>(adapter.rank()));
  out.set_module_count(static_cast<int32_t>(adapter.module_count()));
  *out.mutable_target_modules() = {adapter.target_names().begin(),
                                   adapter.target_names().end()};
  std::sort(out.mutable_target_modules()->begin(),
            out.mutable_target_modules()->end());
  out.set_resident_bytes(adapter.bytes());
  out.set_dropout(adapter.dropout());
  out.set_resident(true);
  return out;
}

}  // namespace dissonance
