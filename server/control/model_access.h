// Who may see and who may change a model or an adapter. Names are "models/M" or
// "models/M/adapters/A". Thread safe. Borrows the store.
//
//   RETURN_IF_ERROR(access.CheckSees(viewer, "models/m/adapters/a"));
#ifndef DISSONANCE_SERVER_CONTROL_MODEL_ACCESS_H_
#define DISSONANCE_SERVER_CONTROL_MODEL_ACCESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/jobs.pb.h"
#include "dissonance/v1/models.pb.h"
#include "server/control/named_models.h"
#include "src/lab/storage/model_store.h"
#include "src/lab/storage/token_store.h"
#include "src/lab/storage/viewer.h"

namespace dissonance {

class ModelAccess {
 public:
  explicit ModelAccess(ModelStore& store) : store_(store) {}

  // NOT_FOUND, worded the same whether there is none or it is hidden. An
  // adapter is seen by who sees it and its model.
  absl::Status CheckSees(const Viewer& viewer, const std::string& name) const;
  absl::Status CheckSeesAll(const Viewer& viewer,
                            const NamedModels& named) const;
  bool Sees(const Viewer& viewer, const v1::Model& model) const;
  bool Sees(const Viewer& viewer, const v1::Adapter& adapter) const;

  // As CheckSees; PERMISSION_DENIED for what is another's.
  absl::Status CheckChanges(const Viewer& viewer,
                            const std::string& name) const;
  // That the viewer may give the name to something: nothing has it, or what
  // has it is his. ALREADY_EXISTS or PERMISSION_DENIED else.
  absl::Status CheckTakes(const Viewer& viewer, const std::string& name) const;

 private:
  // Whose it is and who sees it. NOT_FOUND if there is none.
  struct Ownership;
  absl::StatusOr<Ownership> OwnershipOf(const std::string& name) const;

  ModelStore& store_;
};

// That a user sees what a job of his names, and may give the names that it
// gives, as when it was made: what had the name then may have gone, and
// another's have it now.
absl::Status CheckSeesSpec(TokenStore& tokens, const ModelAccess& access,
                           absl::string_view user, const v1::JobSpec& spec);

// That a viewer may give the names that a job of his will give.
absl::Status CheckTakesOutputs(const ModelAccess& access, const Viewer& viewer,
                               const v1::JobSpec& spec);

// "models/M" of either name.
std::string ModelOfName(const std::string& name);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_MODEL_ACCESS_H_
