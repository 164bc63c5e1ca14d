#include "client/cli/earlier_job.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/errors.h"
#include "client/cli/names.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

absl::StatusOr<std::string> DigestOfModel(Connection& connection,
                                          const std::string& name) {
  v1::GetModelRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(const v1::GetModelResponse response,
                   connection.Call(&v1::Models::Stub::GetModel, request));
  return response.model().digest();
}

absl::StatusOr<std::string> DigestOfAdapter(Connection& connection,
                                            const std::string& name) {
  v1::GetAdapterRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(const v1::GetAdapterResponse response,
                   connection.Call(&v1::Models::Stub::GetAdapter, request));
  return response.adapter().digest();
}

absl::Status CheckDigest(const v1::Job& job, const std::string& name,
                         const std::string& then,
                         const absl::StatusOr<std::string>& now) {
  if (absl::IsNotFound(now.status())) return absl::OkStatus();
  RETURN_IF_ERROR(now.status());
  if (*now == then) return absl::OkStatus();
  return WithHint(
      absl::FailedPreconditionError(
          absl::StrCat("--request-id ", job.request_id(), " names ", job.name(),
                       ", which computed with another ", name,
                       ": its digest was ", then, " and is now ", *now)),
      absl::StrCat("take another --request-id for a new run; the files of the "
                   "earlier one: dissonance jobs fetch ",
                   ShortName(job.name()), " --out DIR"));
}

}  // namespace

absl::Status CheckNotReplaced(Connection& connection, const v1::Job& job) {
  const auto& variants = job.spec().has_evaluate_open()
                             ? job.spec().evaluate_open().variants()
                             : job.spec().evaluate_mcq().variants();
  for (int i = 0; i < job.provenance_size() && i < variants.size(); ++i) {
    const v1::Variant& variant = variants[i];
    const v1::Provenance& computed = job.provenance(i);
    RETURN_IF_ERROR(CheckDigest(job, variant.model(), computed.model_digest(),
                                DigestOfModel(connection, variant.model())));
    if (variant.adapter().empty()) continue;
    RETURN_IF_ERROR(
        CheckDigest(job, variant.adapter(), computed.adapter_digest(),
                    DigestOfAdapter(connection, variant.adapter())));
  }
  return absl::OkStatus();
}

}  // namespace dissonance::cli
