#include "server/control/directions_service.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "dissonance/v1/probes.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "server/control/auth.h"
#include "server/control/grpc_status.h"
#include "src/base/status_macros.h"
#include "src/lab/directions/probe_file.h"

namespace dissonance {
namespace {

using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;

// Of variants that the job computed, or those of the job whose activations it
// took.
absl::StatusOr<v1::Variant> VariantOf(JobManager& jobs,
                                      const std::string& owner,
                                      const v1::TrainProbesSpec& spec,
                                      int32_t index) {
  const auto* variants = &spec.variants();
  v1::Job captured;
  if (!spec.activations_job().empty()) {
    ASSIGN_OR_RETURN(captured, jobs.Get(owner, spec.activations_job()));
    variants = &captured.spec().extract_activations().variants();
  }
  if (index >= 0 && index < variants->size()) return variants->Get(index);
  return absl::InvalidArgumentError(
      absl::StrCat("probes.variant_index: the job has ", variants->size(),
                   " variants, numbered from 0; found ", index));
}

absl::StatusOr<std::string> ReadOutput(ArtifactStore& artifacts,
                                       const v1::Job& job,
                                       const std::string& file_name) {
  for (const v1::JobOutput& output : job.outputs()) {
    if (output.file_name() != file_name) continue;
    // Whoever sees the job sees its files.
    ASSIGN_OR_RETURN(const ArtifactReader reader,
                     artifacts.Open(output.artifact()));
    return reader.Read(0, reader.artifact().size_bytes());
  }
  return absl::FailedPreconditionError(
      absl::StrCat(job.name(), " has no file ", file_name, "; replay it"));
}

class DirectionsService final : public v1::Directions::CallbackService {
 public:
  explicit DirectionsService(const DirectionsParts& parts)
      : parts_(parts), directions_(parts.directions) {}

  Unary* CreateDirection(Context* context,
                         const v1::CreateDirectionRequest* request,
                         v1::CreateDirectionResponse* response) override {
    return Answer(context, [&](const Principal& caller) -> absl::Status {
      RETURN_IF_ERROR(CheckSeesSource(caller, *request));
      RETURN_IF_ERROR(directions_.CheckFree(request->name()));
      ASSIGN_OR_RETURN(v1::Direction direction, SourceOf(caller, *request));
      direction.set_name(request->name());
      direction.set_shared(request->shared());
      const ArtifactOwner owner = {
          .user = caller.user,
          .limit_bytes = parts_.quotas.Of(caller.user).artifact_bytes()};
      ASSIGN_OR_RETURN(*response->mutable_direction(),
                       directions_.Create(owner, std::move(direction)));
      return absl::OkStatus();
    });
  }

  Unary* GetDirection(Context* context, const v1::GetDirectionRequest* request,
                      v1::GetDirectionResponse* response) override {
    return Answer(context, [&](const Principal& caller) -> absl::Status {
      ASSIGN_OR_RETURN(*response->mutable_direction(),
                       directions_.Get(ViewerOf(caller), request->name()));
      return absl::OkStatus();
    });
  }

  Unary* ListDirections(Context* context,
                        const v1::ListDirectionsRequest* request,
                        v1::ListDirectionsResponse* response) override {
    return Answer(context, [&](const Principal& caller) -> absl::Status {
      ASSIGN_OR_RETURN(*response, directions_.List(ViewerOf(caller), *request));
      return absl::OkStatus();
    });
  }

  Unary* DeleteDirection(Context* context,
                         const v1::DeleteDirectionRequest* request,
                         v1::DeleteDirectionResponse* /*response*/) override {
    return Answer(context, [&](const Principal& caller) {
      return directions_.Delete(ViewerOf(caller), request->name());
    });
  }

  Unary* CompareDirections(Context* context,
                           const v1::CompareDirectionsRequest* request,
                           v1::CompareDirectionsResponse* response) override {
    return Answer(context, [&](const Principal& caller) -> absl::Status {
      const std::vector<std::string> names(request->names().begin(),
                                           request->names().end());
      ASSIGN_OR_RETURN(*response, directions_.Compare(ViewerOf(caller), names));
      return absl::OkStatus();
    });
  }

 private:
  // Runs a call of the caller's and ends it.
  Unary* Answer(Context* context,
                absl::FunctionRef<absl::Status(const Principal& caller)> call) {
    const absl::StatusOr<Principal> caller = CallerOf(*context, parts_.tokens);
    Unary* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(caller.ok() ? call(*caller) : caller.status()));
    return reactor;
  }

  absl::Status CheckSeesSource(const Principal& caller,
                               const v1::CreateDirectionRequest& request) {
    if (request.has_given()) {
      return parts_.access.CheckSees(ViewerOf(caller), request.given().model());
    }
    if (!request.has_probes()) return absl::OkStatus();
    return parts_.jobs.Get(JobsOwnerOf(caller), request.probes().job())
        .status();
  }

  // Model, method, source and vectors as the request gives them.
  absl::StatusOr<v1::Direction> SourceOf(
      const Principal& caller, const v1::CreateDirectionRequest& request) {
    if (request.has_given()) return FromVectors(request.given());
    if (request.has_probes()) return FromProbes(caller, request.probes());
    return absl::InvalidArgumentError("source: give one of given and probes");
  }

  static v1::Direction FromVectors(const v1::GivenVectors& given) {
    v1::Direction direction;
    direction.set_model(given.model());
    direction.set_method(given.method() == v1::DIRECTION_METHOD_UNSPECIFIED
                             ? v1::DIRECTION_METHOD_GIVEN
                             : given.method());
    direction.set_source_json(given.source_json());
    *direction.mutable_vectors() = given.vectors();
    return direction;
  }

  absl::StatusOr<v1::Direction> FromProbes(const Principal& caller,
                                           const v1::ProbeVectors& probes) {
    const std::string owner = JobsOwnerOf(caller);
    ASSIGN_OR_RETURN(const v1::Job job, parts_.jobs.Get(owner, probes.job()));
    if (!job.spec().has_train_probes() ||
        job.state() != v1::JOB_STATE_SUCCEEDED) {
      return absl::FailedPreconditionError(
          absl::StrCat(job.name(),
                       " is no train_probes job that SUCCEEDED; name one, or "
                       "wait for its end"));
    }
    ASSIGN_OR_RETURN(const v1::Variant variant,
                     VariantOf(parts_.jobs, owner, job.spec().train_probes(),
                               probes.variant_index()));
    ASSIGN_OR_RETURN(std::string bytes,
                     ReadOutput(parts_.artifacts, job, kProbeFileName));
    v1::ProbeVectors chosen;
    ASSIGN_OR_RETURN(const std::vector<v1::DirectionVector> vectors,
                     ReadProbeVectors(std::move(bytes), probes, &chosen));
    v1::Direction direction;
    direction.set_model(variant.model());
    direction.set_method(v1::DIRECTION_METHOD_PROBE);
    direction.mutable_vectors()->Add(vectors.begin(), vectors.end());
    direction.set_source_json(nlohmann::json{
        {"job", job.name()},
        {"target", chosen.target()},
        {"variant_index", chosen.variant_index()},
        {"adapter", variant.adapter()},
        {"c", chosen.c()}}.dump());
    return direction;
  }

  const DirectionsParts parts_;
  DirectionCatalog& directions_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDirectionsService(
    const DirectionsParts& parts) {
  return std::make_unique<DirectionsService>(parts);
}

}  // namespace dissonance
