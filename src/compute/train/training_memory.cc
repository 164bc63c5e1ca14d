#include "src/compute/train/training_memory.h"

#include <algorithm>
#include <array>
#include <vector>

#include "src/compute/train/token_loss.h"

namespace dissonance {
namespace {

// Ranks adapted in each group of a block, added up; 0: not adapted.
using GroupRanks = std::array<int64_t, kGroupCount>;

int64_t Of(const GroupRanks& ranks, ProjectionGroup group) {
  return ranks[static_cast<size_t>(group)];
}

std::vector<GroupRanks> RanksOf(const Model& model,
                                const LoraParameters& lora) {
  std::vector<GroupRanks> ranks(
      static_cast<size_t>(model.spec().block_count()));
  for (const LoraParameter& own : lora.modules()) {
    ranks[static_cast<size_t>(own.block)][static_cast<size_t>(own.group)] +=
        own.a.size(0);
  }
  return ranks;
}

// Bytes that a block keeps of a row from its forward to its backward pass,
// beside what went in; see training_network.cc.
int64_t KeptBytes(const DecoderSpec& spec, const GroupRanks& ranks,
                  int64_t element, int64_t adapter_element) {
  // x of an adapted projection: as it is, and in the adapter's type.
  const auto adapted = [&](ProjectionGroup group, int64_t width) {
    const int64_t rank = Of(ranks, group);
    if (rank == 0) return int64_t{0};
    const int64_t copy = element == adapter_element ? 0 : adapter_element;
    return width * (element + copy) + rank * adapter_element;
  };
  const int64_t qkv = spec.q_width() + 2 * spec.kv_width();
  const int64_t rotated = spec.q_width() + spec.kv_width();
  const int64_t up = spec.OutWidth(ProjectionGroup::kGateUp);
  const int64_t hidden = spec.InWidth(ProjectionGroup::kDown);
  int64_t bytes = (qkv + rotated + spec.q_width() + up) * element;
  bytes += 2 * spec.d_model * element;  // between the two halves, and the end
  if (spec.names.attn_post_norm.empty() == false) {
    bytes += 2 * spec.d_model * element;
  }
  bytes += adapted(ProjectionGroup::kQkv, spec.d_model);
  bytes += adapted(ProjectionGroup::kO, spec.q_width());
  bytes += adapted(ProjectionGroup::kGateUp, spec.d_model);
  bytes += adapted(ProjectionGroup::kDown, hidden);
  return bytes;
}

}  // namespace

int64_t ActivationBytes(const Model& model, const LoraParameters& lora,
                        bool activation_checkpointing, int64_t tokens,
                        int64_t longest) {
  const DecoderSpec& spec = model.spec();
  const auto element =
      static_cast<int64_t>(model.weights().embed.element_size());
  const auto adapter_element = static_cast<int64_t>(lora.flat().element_size());
  int64_t all = 0;
  int64_t largest = 0;
  for (const GroupRanks& ranks : RanksOf(model, lora)) {
    const int64_t kept = KeptBytes(spec, ranks, element, adapter_element);
    const bool has_begun = all > 0 || ranks != GroupRanks{};
    if (has_begun) {
      all += activation_checkpointing ? spec.d_model * element : kept;
    }
    largest = std::max(largest, kept);
  }
  // Gradients of a block's activations, while it runs backward.
  const int64_t backward =
      largest * (activation_checkpointing ? 2 : 1) + 4 * spec.d_model * element;
  int64_t bytes = tokens * (all + backward) + 3 * kLossChunkBytes;
  if (spec.attn_softcap > 0) {
    bytes += 6 * spec.head_count * longest * longest * element *
             (activation_checkpointing ? 1 : spec.block_count());
  }
  return bytes;
}

}  // namespace dissonance
