#include "client/cli/direction_of_job.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/download.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"
#include "src/lab/report/report_stage.h"
#include "src/lab/tensors/direction_file.h"
#include "src/lab/tensors/place_name.h"
#include "src/lab/tensors/safetensors_reader.h"

namespace dissonance::cli {
namespace {

constexpr char kFileName[] = "direction.safetensors";

bool IsAt(const Place& wanted, const v1::SiteRef& place) {
  return place.site() == wanted.site &&
         (wanted.blocks.empty() ||
          std::find(wanted.blocks.begin(), wanted.blocks.end(),
                    place.block()) != wanted.blocks.end());
}

// All vectors of the file.
absl::StatusOr<v1::Direction> ReadVectors(const std::string& bytes,
                                          const std::string& job) {
  ASSIGN_OR_RETURN(
      const TensorFile file,
      TensorFile::Parse(bytes, absl::StrCat(kFileName, " of ", job)));
  v1::Direction direction;
  direction.set_name(job);
  for (const std::string& name : file.names()) {
    const std::optional<v1::SiteRef> place = ParsePlaceName(name);
    if (!place.has_value()) {
      return absl::DataLossError(
          absl::StrCat(kFileName, " of ", job, ": ", name, " is no place"));
    }
    *direction.add_places() = *place;
  }
  RETURN_IF_ERROR(ReadDirectionFile(bytes, direction));
  return direction;
}

absl::StatusOr<v1::CreateDirectionRequest> OfVectors(
    Connection& connection, const v1::Job& job,
    const std::optional<Place>& wanted) {
  const auto output = std::find_if(
      job.outputs().begin(), job.outputs().end(),
      [](const v1::JobOutput& each) { return each.file_name() == kFileName; });
  if (output == job.outputs().end()) {
    return absl::DataLossError(absl::StrCat(job.name(), " has no ", kFileName));
  }
  ASSIGN_OR_RETURN(const std::string bytes,
                   DownloadArtifact(connection, output->artifact()));
  ASSIGN_OR_RETURN(const v1::Direction found, ReadVectors(bytes, job.name()));
  const v1::FitDirectionsSpec& spec = job.spec().fit_directions();
  v1::CreateDirectionRequest request;
  v1::GivenVectors& given = *request.mutable_given();
  given.set_model(spec.variants(0).model());
  given.set_method(spec.method() == v1::DIRECTION_METHOD_UNSPECIFIED
                       ? v1::DIRECTION_METHOD_MEAN_DIFFERENCE
                       : spec.method());
  given.set_source_json(nlohmann::json{{"job", job.name()}}.dump());
  for (const v1::DirectionVector& vector : found.vectors()) {
    if (wanted.has_value() && !IsAt(*wanted, vector.place())) continue;
    *given.add_vectors() = vector;
  }
  if (!given.vectors().empty()) return request;
  return UsageError(absl::StrCat("--place: ", job.name(),
                                 " has no vector there; it has some at ",
                                 PlacesText(found)));
}

}  // namespace

v1::CreateDirectionRequest DirectionOfProbes(
    const std::string& job, const ProbeChoice& choice,
    const std::optional<Place>& place) {
  v1::CreateDirectionRequest request;
  v1::ProbeVectors& probes = *request.mutable_probes();
  probes.set_job(JobName(job));
  probes.set_target(choice.target);
  probes.set_variant_index(choice.variant_index);
  probes.set_c(choice.c);
  if (!place.has_value()) return request;
  if (!BelongsToBlock(place->site)) {
    probes.add_places()->set_site(place->site);
  }
  for (const int32_t block : place->blocks) {
    v1::SiteRef& each = *probes.add_places();
    each.set_site(place->site);
    each.set_block(block);
  }
  return request;
}

absl::StatusOr<v1::CreateDirectionRequest> DirectionOfJob(
    Connection& connection, const std::string& name, const ProbeChoice& choice,
    const std::optional<Place>& place) {
  v1::GetJobRequest get;
  get.set_name(JobName(name));
  ASSIGN_OR_RETURN(const v1::GetJobResponse response,
                   connection.Call(&v1::Jobs::Stub::GetJob, get));
  const v1::Job& job = response.job();
  if (job.state() != v1::JOB_STATE_SUCCEEDED) {
    return absl::FailedPreconditionError(absl::StrCat(job.name(), " is ",
                                                      EnumWord(job.state()),
                                                      "; wait until it has "
                                                      "succeeded"));
  }
  if (job.spec().has_train_probes()) {
    return DirectionOfProbes(name, choice, place);
  }
  if (job.spec().has_fit_directions()) {
    return OfVectors(connection, job, place);
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "--job: ", job.name(), " is a job ", KindName(job.spec()),
      ", which finds no direction; name one of the kind fit_directions or "
      "train_probes (stages.json names those of a pipeline)"));
}

}  // namespace dissonance::cli
