#include "server/worker/variants.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "server/worker/interp_messages.h"
#include "server/worker/model_messages.h"
#include "server/worker/versions.h"
#include "src/base/sha256.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr int kMaxVariants = 1000;

}  // namespace

absl::StatusOr<ResolvedVariant> ResolveVariant(const v1::Variant& variant,
                                               ModelRegistry& registry) {
  ResolvedVariant resolved;
  ASSIGN_OR_RETURN(resolved.model, registry.GetModel(variant.model()));
  if (!variant.adapter().empty()) {
    if (ModelOfAdapter(variant.adapter()) != variant.model()) {
      return absl::InvalidArgumentError(
          absl::StrCat("adapter: ", variant.adapter(), " is not an adapter of ",
                       variant.model(), "; its adapters are named ",
                       variant.model(), "/adapters/NAME"));
    }
    ASSIGN_OR_RETURN(ResidentAdapter adapter,
                     registry.GetAdapter(variant.adapter()));
    resolved.adapter = std::move(adapter.adapter);
  }
  if (!variant.interventions().empty()) {
    ASSIGN_OR_RETURN(
        resolved.interventions,
        InterventionsOf(*resolved.model.model, variant.interventions()));
  }
  return resolved;
}

absl::StatusOr<std::vector<ResolvedVariant>> ResolveVariants(
    const google::protobuf::RepeatedPtrField<v1::Variant>& variants,
    ModelRegistry& registry) {
  if (variants.empty()) {
    return absl::InvalidArgumentError("variants: expected at least one");
  }
  if (variants.size() > kMaxVariants) {
    return absl::InvalidArgumentError(
        absl::StrCat("variants: expected at most ", kMaxVariants, ", found ",
                     variants.size()));
  }
  std::vector<ResolvedVariant> resolved;
  for (int i = 0; i < variants.size(); ++i) {
    absl::StatusOr<ResolvedVariant> own = ResolveVariant(variants[i], registry);
    if (!own.ok()) {
      return Annotate(own.status(), absl::StrCat("variants[", i, "]"));
    }
    resolved.push_back(*std::move(own));
  }
  return resolved;
}

std::string MessageDigest(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return Sha256Of(bytes);
}

v1::Provenance ProvenanceOf(const ResolvedVariant& variant,
                            const std::string& input_digest, uint64_t seed,
                            const EngineOptions& engine) {
  v1::Provenance out;
  const Model& model = *variant.model.model;
  out.set_model_digest(model.digest());
  if (variant.adapter != nullptr) {
    out.set_adapter_digest(variant.adapter->digest());
  }
  if (variant.model.tokenizer != nullptr) {
    out.set_tokenizer_digest(variant.model.tokenizer->digest());
  }
  out.set_input_digest(input_digest);
  out.set_dtype(ToMessage(model.dtype()));
  out.set_device(model.device().str());
  out.set_seed(seed);
  for (const auto& [name, version] : NumericsOf(engine)) {
    (*out.mutable_versions())[name] = version;
  }
  out.set_reproducible(engine.reproducible);
  return out;
}

}  // namespace dissonance
