// Models and adapters that were loaded or registered, so that a worker can be
// given them again after its restart. Thread safe. Borrows the database.
//
//   RETURN_IF_ERROR(models.PutModel({.model = loaded, .resident = true}));
//   ASSIGN_OR_RETURN(std::vector<StoredModel> wanted, models.ListModels());
#ifndef DISSONANCE_LAB_STORAGE_MODEL_STORE_H_
#define DISSONANCE_LAB_STORAGE_MODEL_STORE_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dissonance/v1/models.pb.h"
#include "src/lab/storage/database.h"

namespace dissonance {

// A model as last reported by a worker.
struct StoredModel {
  v1::Model model = {};
  // The type that LoadModel asked for; model.dtype is what came of it.
  v1::DType requested_dtype = v1::DTYPE_UNSPECIFIED;
  // Whether it should be on the device; model.resident is what was last seen.
  bool resident = true;
};

// An adapter as last reported by a worker.
struct StoredAdapter {
  v1::Adapter adapter = {};  // its name gives the model
  bool resident = true;
};

class ModelStore {
 public:
  explicit ModelStore(Database& database) : database_(database) {}

  // Adds the model, or replaces what is known of it; its adapters stay.
  absl::Status PutModel(const StoredModel& stored);
  // NOT_FOUND if unknown, here and below.
  absl::StatusOr<StoredModel> GetModel(absl::string_view name);
  // By name, those after `after`, at most `limit` (0: all).
  absl::StatusOr<std::vector<StoredModel>> ListModels(
      absl::string_view after = "", int limit = 0);
  // Forgets the model and its adapters.
  absl::Status DeleteModel(absl::string_view name);

  // Adds or replaces an adapter. NOT_FOUND if its model, or an artifact that it
  // is made of, is not stored. Its artifacts stay as long as it does.
  absl::Status PutAdapter(const StoredAdapter& stored);
  absl::StatusOr<StoredAdapter> GetAdapter(absl::string_view name);
  // A model's adapters by name, those after `after`, at most `limit` (0: all).
  // Empty for an unknown model.
  absl::StatusOr<std::vector<StoredAdapter>> ListAdapters(
      absl::string_view model, absl::string_view after = "", int limit = 0);
  absl::Status SetAdapterResident(absl::string_view name, bool resident);
  absl::Status DeleteAdapter(absl::string_view name);
  // Whether an adapter is made of these two artifacts.
  absl::StatusOr<bool> HasAdapterOf(absl::string_view config,
                                    absl::string_view weights);

 private:
  Database& database_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_MODEL_STORE_H_
