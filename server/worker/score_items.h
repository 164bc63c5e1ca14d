// The items of a Score request as token ids, encoded within limits: what a
// small request can make the server encode and hold is bounded before it is
// done. Thread safe.
//
//   ASSIGN_OR_RETURN(auto items, EncodeItems(model, request, limits, gone));
#ifndef DISSONANCE_SERVER_WORKER_SCORE_ITEMS_H_
#define DISSONANCE_SERVER_WORKER_SCORE_ITEMS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dissonance/v1/inference.pb.h"
#include "server/worker/model_registry.h"
#include "server/worker/prompt_text.h"
#include "src/compute/engine/engine.h"

namespace dissonance {

// Whether nobody waits for the answer any more.
using Cancelled = std::function<bool()>;

// Continuations of an item that follow the same tokens.
struct ContextGroup {
  ScoreTask task;
  std::vector<int> continuations;  // the item's indices, as in `task`
};

struct EncodedItem {
  int32_t prompt_token_count = 0;
  std::vector<ContextGroup> groups;
  int64_t token_count = 0;               // of all groups, contexts included
  int64_t continuation_token_count = 0;  // of all groups, contexts left out
  std::string id;                        // as the request names it, or empty
};

using EncodedItems = std::vector<EncodedItem>;

// "items[6] (q17)", "items[6]" without an id.
std::string ItemLabel(int index, const std::string& id);

// Encodes all items of the request. Errors name the field, as in
// "items[3].continuations[0]: ..."; RESOURCE_EXHAUSTED as soon as a limit is
// passed, CANCELLED once `cancelled` says so.
absl::StatusOr<std::shared_ptr<const EncodedItems>> EncodeItems(
    const ResidentModel& model, const v1::ScoreRequest& request,
    const RequestLimits& limits, const Cancelled& cancelled);

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_WORKER_SCORE_ITEMS_H_
