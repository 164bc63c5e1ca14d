#include "server/control/direction_resolver.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "dissonance/v1/interp_jobs.pb.h"
#include "dissonance/v1/probes.pb.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "server/control/model_access.h"
#include "server/control/vector_pieces.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/direction_file.h"
#include "src/lab/tensors/place_name.h"

namespace dissonance {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DynamicCastToGenerated;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Interventions = google::protobuf::RepeatedPtrField<v1::Intervention>;

absl::string_view ShortName(const v1::Direction& direction) {
  return absl::StripPrefix(direction.name(), "directions/");
}

absl::Status About(const v1::Direction& direction, const absl::Status& status) {
  return Annotate(status, absl::StrCat("direction ", ShortName(direction)));
}

bool IsOfResidualStream(v1::Site site) {
  return site == v1::SITE_RESID_PRE || site == v1::SITE_ATTN_OUT ||
         site == v1::SITE_RESID_MID || site == v1::SITE_MLP_OUT ||
         site == v1::SITE_RESID_POST || site == v1::SITE_FINAL_NORM;
}

// Whether what a direction has means the same at `site`: all of the residual
// stream have one basis, any other site has its own.
absl::Status CheckBasis(const v1::Direction& direction, v1::Site site) {
  if (absl::c_any_of(direction.places(), [site](const v1::SiteRef& place) {
        return place.site() == site ||
               (IsOfResidualStream(place.site()) && IsOfResidualStream(site));
      })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "direction ", ShortName(direction), " was found at ",
      PlacesText(direction), ", whose numbers mean something else at ",
      SiteName(site), "; fit one there"));
}

// The vector of an operation that has one; null for the others.
v1::VectorRef* VectorOf(v1::Intervention& message) {
  switch (message.operation_case()) {
    case v1::Intervention::kAdd:
      return message.mutable_add()->mutable_vector();
    case v1::Intervention::kReplace:
      return message.mutable_replace();
    case v1::Intervention::kProjectOut:
      return message.mutable_project_out();
    default:
      return nullptr;
  }
}

// The intervention once for each place where it has a vector of its own.
std::vector<v1::Intervention> InPlaces(const v1::Intervention& intervention,
                                       const v1::Direction& direction) {
  std::vector<v1::Intervention> in_place;
  const auto add = [&](v1::Site site, std::optional<int32_t> block) {
    v1::Intervention& one = in_place.emplace_back(intervention);
    one.set_site(site);
    one.clear_blocks();
    if (block.has_value()) one.add_blocks(*block);
  };
  if (intervention.site() == v1::SITE_UNSPECIFIED &&
      intervention.blocks().empty()) {
    for (const v1::SiteRef& place : direction.places()) {
      add(place.site(), IsInBlocks(place.site())
                            ? std::optional<int32_t>(place.block())
                            : std::nullopt);
    }
    return in_place;
  }
  // One vector serves all blocks alike.
  if (direction.vectors_size() == 1 || intervention.blocks().empty()) {
    return {intervention};
  }
  for (const int32_t block : intervention.blocks()) {
    add(intervention.site(), block);
  }
  return in_place;
}

// The model of the variants that a message has, which its other fields are
// about too; empty if it has none.
std::string ModelIn(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->message_type() != v1::Variant::descriptor()) continue;
    const Message& variant =
        field->is_repeated() ? reflection.GetRepeatedMessage(message, field, 0)
                             : reflection.GetMessage(message, field);
    return DynamicCastToGenerated<v1::Variant>(&variant)->model();
  }
  return "";
}

// One message on its way through.
class Resolution {
 public:
  Resolution(DirectionCatalog& catalog, ModelStore& models,
             const Viewer& viewer, int64_t limit_bytes)
      : catalog_(catalog),
        models_(models),
        viewer_(viewer),
        limit_bytes_(limit_bytes),
        left_bytes_(limit_bytes) {}

  // `model` is what the message is about where it does not say itself.
  absl::Status Walk(Message& message, const std::string& path,
                    const std::string& model);

 private:
  absl::Status WalkField(Message& message, const FieldDescriptor& field,
                         const std::string& path, const std::string& model);
  absl::Status Visit(Message& message, const std::string& path,
                     const std::string& model);
  absl::Status ResolveAll(Interventions& list, const std::string& path,
                          const std::string& model);
  absl::Status Append(v1::Intervention intervention, const std::string& model,
                      Interventions& out);
  absl::Status ResolveMeter(v1::Meter& meter, const std::string& model);
  absl::Status ResolveSweep(v1::SteeringSweepSpec& sweep,
                            const std::string& path);
  absl::Status ResolveSweepDirection(const v1::SteeringSweepSpec& sweep,
                                     v1::SweepDirection& direction);

  absl::StatusOr<const v1::Direction*> Load(const std::string& name);
  // The vector for a place.
  absl::StatusOr<const v1::DirectionVector*> VectorAt(
      const v1::Direction& direction, const v1::SiteRef& place);
  // Whether its numbers can be meant at a site of the model.
  absl::Status CheckFits(const v1::Direction& direction, v1::Site site,
                         const std::string& model);
  absl::Status Put(v1::Tensor tensor, v1::VectorRef& ref);
  std::optional<v1::Model> ModelNamed(const std::string& name);

  DirectionCatalog& catalog_;
  ModelStore& models_;
  const Viewer& viewer_;
  const int64_t limit_bytes_;
  int64_t left_bytes_;
  std::map<std::string, v1::Direction> loaded_;
};

absl::Status Resolution::Walk(Message& message, const std::string& path,
                              const std::string& outer_model) {
  const std::string own = ModelIn(message);
  const std::string& model = own.empty() ? outer_model : own;
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    // Maps hold no vectors.
    if (field->message_type() == nullptr || field->is_map()) continue;
    const std::string where =
        absl::StrCat(path, path.empty() ? "" : ".", field->name());
    RETURN_IF_ERROR(WalkField(message, *field, where, model));
  }
  return absl::OkStatus();
}

absl::Status Resolution::WalkField(Message& message,
                                   const FieldDescriptor& field,
                                   const std::string& path,
                                   const std::string& model) {
  const Reflection& reflection = *message.GetReflection();
  if (!field.is_repeated()) {
    return Visit(*reflection.MutableMessage(&message, &field), path, model);
  }
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    RETURN_IF_ERROR(
        Visit(*reflection.MutableRepeatedMessage(&message, &field, i),
              absl::StrCat(path, "[", i, "]"), model));
  }
  return absl::OkStatus();
}

absl::Status Resolution::Visit(Message& message, const std::string& path,
                               const std::string& model) {
  if (auto* variant = DynamicCastToGenerated<v1::Variant>(&message)) {
    return ResolveAll(*variant->mutable_interventions(),
                      absl::StrCat(path, ".interventions"), variant->model());
  }
  if (auto* meter = DynamicCastToGenerated<v1::Meter>(&message)) {
    return Annotate(ResolveMeter(*meter, model), path);
  }
  if (auto* sweep = DynamicCastToGenerated<v1::SteeringSweepSpec>(&message)) {
    RETURN_IF_ERROR(ResolveSweep(*sweep, path));
  }
  return Walk(message, path, model);
}

absl::Status Resolution::ResolveAll(Interventions& list,
                                    const std::string& path,
                                    const std::string& model) {
  Interventions resolved;
  bool has_names = false;
  for (v1::Intervention& each : list) {
    const v1::VectorRef* ref = VectorOf(each);
    has_names = has_names || (ref != nullptr && ref->has_direction());
  }
  if (!has_names) return absl::OkStatus();
  for (int i = 0; i < list.size(); ++i) {
    RETURN_IF_ERROR(Annotate(Append(std::move(list[i]), model, resolved),
                             absl::StrCat(path, "[", i, "]")));
  }
  list = std::move(resolved);
  return absl::OkStatus();
}

absl::Status Resolution::Append(v1::Intervention intervention,
                                const std::string& model, Interventions& out) {
  const v1::VectorRef* ref = VectorOf(intervention);
  if (ref == nullptr || !ref->has_direction()) {
    *out.Add() = std::move(intervention);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const v1::Direction* direction, Load(ref->direction()));
  for (const v1::Intervention& one : InPlaces(intervention, *direction)) {
    RETURN_IF_ERROR(CheckFits(*direction, one.site(), model));
    v1::SiteRef place;
    place.set_site(one.site());
    if (!one.blocks().empty()) place.set_block(one.blocks(0));
    ASSIGN_OR_RETURN(const v1::DirectionVector* vector,
                     VectorAt(*direction, place));
    const absl::StatusOr<std::vector<VectorPiece>> pieces =
        PiecesOf(vector->vector(), one, ModelNamed(model));
    RETURN_IF_ERROR(About(*direction, pieces.status()));
    for (const VectorPiece& piece : *pieces) {
      v1::Intervention& added = *out.Add();
      added = one;
      if (piece.head.has_value()) added.set_head(*piece.head);
      RETURN_IF_ERROR(Put(piece.tensor, *VectorOf(added)));
    }
  }
  return absl::OkStatus();
}

absl::Status Resolution::ResolveMeter(v1::Meter& meter,
                                      const std::string& model) {
  if (!meter.vector().has_direction()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const v1::Direction* direction,
                   Load(meter.vector().direction()));
  if (!meter.has_place()) {
    if (direction->vectors_size() != 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "place: direction ", ShortName(*direction), " has several, ",
          PlacesText(*direction), "; say which one is read"));
    }
    *meter.mutable_place() = direction->places(0);
  }
  RETURN_IF_ERROR(CheckFits(*direction, meter.place().site(), model));
  ASSIGN_OR_RETURN(const v1::DirectionVector* vector,
                   VectorAt(*direction, meter.place()));
  return Put(Flat(vector->vector()), *meter.mutable_vector());
}

absl::Status Resolution::ResolveSweep(v1::SteeringSweepSpec& sweep,
                                      const std::string& path) {
  for (int i = 0; i < sweep.directions_size(); ++i) {
    RETURN_IF_ERROR(
        Annotate(ResolveSweepDirection(sweep, *sweep.mutable_directions(i)),
                 absl::StrCat(path, ".directions[", i, "]")));
  }
  return absl::OkStatus();
}

absl::Status Resolution::ResolveSweepDirection(
    const v1::SteeringSweepSpec& sweep, v1::SweepDirection& out) {
  if (!out.vector().has_direction()) return absl::OkStatus();
  const std::string name = out.vector().direction();
  ASSIGN_OR_RETURN(const v1::Direction* direction, Load(name));
  const v1::Site site =
      sweep.site() == v1::SITE_UNSPECIFIED ? v1::SITE_RESID_POST : sweep.site();
  RETURN_IF_ERROR(CheckFits(*direction, site, sweep.variant().model()));
  if (out.label().empty()) out.set_label(name);
  const std::optional<v1::Model> model = ModelNamed(sweep.variant().model());
  if (direction->vectors_size() == 1) {
    absl::StatusOr<v1::Tensor> shaped =
        ShapedFor(site, direction->vectors(0).vector(), model);
    RETURN_IF_ERROR(About(*direction, shaped.status()));
    return Put(*std::move(shaped), *out.mutable_vector());
  }
  v1::SiteRef place;
  place.set_site(site);
  for (const int32_t block : sweep.blocks()) {
    place.set_block(block);
    RETURN_IF_ERROR(VectorAt(*direction, place).status());
  }
  out.clear_vectors();
  for (const v1::DirectionVector& vector : direction->vectors()) {
    if (vector.place().site() != site) continue;
    absl::StatusOr<v1::Tensor> shaped = ShapedFor(site, vector.vector(), model);
    RETURN_IF_ERROR(About(*direction, shaped.status()));
    v1::VectorRef taken;
    RETURN_IF_ERROR(Put(*std::move(shaped), taken));
    v1::DirectionVector& added = *out.add_vectors();
    added = vector;
    *added.mutable_vector() = std::move(*taken.mutable_tensor());
  }
  // In no block: says which ones there are.
  if (out.vectors().empty()) return VectorAt(*direction, place).status();
  out.clear_vector();
  return absl::OkStatus();
}

absl::StatusOr<const v1::Direction*> Resolution::Load(const std::string& name) {
  const auto found = loaded_.find(name);
  if (found != loaded_.end()) return &found->second;
  ASSIGN_OR_RETURN(v1::Direction direction, catalog_.Get(viewer_, name));
  return &(loaded_[name] = std::move(direction));
}

absl::StatusOr<const v1::DirectionVector*> Resolution::VectorAt(
    const v1::Direction& direction, const v1::SiteRef& place) {
  if (direction.vectors_size() == 1) return &direction.vectors(0);
  for (const v1::DirectionVector& vector : direction.vectors()) {
    if (IsSamePlace(vector.place(), place)) return &vector;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("direction ", ShortName(direction), " has no vector at ",
                   PlaceName(place), "; it has ", PlacesText(direction)));
}

absl::Status Resolution::CheckFits(const v1::Direction& direction,
                                   v1::Site site, const std::string& model) {
  const std::optional<v1::Model> stored = ModelNamed(model);
  const int64_t width = stored.has_value() ? WidthAt(*stored, site) : 0;
  if (width == 0 || width == direction.width()) {
    return CheckBasis(direction, site);
  }
  // A shared direction may be of a private model.
  const bool is_seen =
      ModelAccess(models_).CheckSees(viewer_, direction.model()).ok();
  return absl::InvalidArgumentError(absl::StrCat(
      "direction ", ShortName(direction), " has ", direction.width(),
      " numbers, ", SiteName(site), " of ", model, " has ", width,
      ": it belongs to ", is_seen ? direction.model() : "another model"));
}

absl::Status Resolution::Put(v1::Tensor tensor, v1::VectorRef& ref) {
  left_bytes_ -= static_cast<int64_t>(tensor.data().size());
  if (left_bytes_ < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the directions of this request take more than ",
                     limit_bytes_, " bytes as vectors; ask for fewer at once"));
  }
  if (ref.label().empty()) ref.set_label(ref.direction());
  *ref.mutable_tensor() = std::move(tensor);
  return absl::OkStatus();
}

std::optional<v1::Model> Resolution::ModelNamed(const std::string& name) {
  absl::StatusOr<StoredModel> stored = models_.GetModel(name);
  if (!stored.ok()) return std::nullopt;
  return std::move(stored->model);
}

absl::Status NoMessage(const Descriptor& type) {
  return absl::InvalidArgumentError("the request is no valid " + type.name());
}

}  // namespace

absl::Status DirectionResolver::Resolve(const Viewer& viewer,
                                        Message& message) const {
  return Resolution(catalog_, models_, viewer, limit_bytes_)
      .Walk(message, "", "");
}

absl::StatusOr<grpc::ByteBuffer> DirectionResolver::Resolve(
    const Viewer& viewer, const Descriptor& type,
    const grpc::ByteBuffer& bytes) const {
  const std::unique_ptr<Message> message(
      google::protobuf::MessageFactory::generated_factory()
          ->GetPrototype(&type)
          ->New());
  // The reader takes a mutable buffer, but only counts a reference in it.
  grpc::ByteBuffer shared = bytes;
  grpc::ProtoBufferReader reader(&shared);
  if (!reader.status().ok() || !message->ParseFromZeroCopyStream(&reader)) {
    return NoMessage(type);
  }
  RETURN_IF_ERROR(Resolve(viewer, *message));
  const grpc::Slice slice(message->SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace dissonance
