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

std::vector<GroupRanks> RanksOf(const Model& model, const LoraShape& lora) {
  std::vector<GroupRanks> ranks(
      static_cast<size_t>(model.spec().block_count()));
  for (const LoraShape::Module& own : lora.modules) {
    ranks[static_cast<size_t>(own.block)][static_cast<size_t>(own.group)] +=
        own.rank;
  }
  return ranks;
}

// Bytes that a block keeps of a row from its forward to its backward pass,
// beside what went in; see training_network.cc.
int64_t KeptBytes(const DecoderSpec& spec, bool has_experts,
                  const GroupRanks& ranks, int64_t element,
                  int64_t adapter_element) {
  // x of an adapted projection: as it is, and in the adapter's type.
  const auto adapted = [&](ProjectionGroup group, int64_t width) {
    const int64_t rank = Of(ranks, group);
    if (rank == 0) return int64_t{0};
    const int64_t copy = element == adapter_element ? 0 : adapter_element;
    return width * (element + copy) + rank * adapter_element;
  };
  const int64_t qkv = spec.q_width() + 2 * spec.kv_width();
  const int64_t rotated = spec.q_width() + spec.kv_width();
  const int64_t mlp =
      has_experts
          ? spec.experts.chosen * (2 * spec.experts.d_mlp + 2 * spec.d_model)
          : spec.OutWidth(ProjectionGroup::kGateUp);
  int64_t numbers = qkv + rotated + spec.q_width() + mlp;
  numbers += 2 * spec.d_model;  // between the two halves, and the end
  if (!spec.names.attn_post_norm.empty()) numbers += 2 * spec.d_model;
  int64_t bytes = numbers * element;
  bytes += adapted(ProjectionGroup::kQkv, spec.d_model);
  bytes += adapted(ProjectionGroup::kO, spec.q_width());
  bytes += adapted(ProjectionGroup::kGateUp, spec.d_model);
  bytes +=
      adapted(ProjectionGroup::kDown, spec.InWidth(ProjectionGroup::kDown));
  return bytes;
}

// Bytes of a document's capped scores in a block: kept, and for a moment.
int64_t CappedBytes(const DecoderSpec& spec, int64_t squares, int64_t element,
                    bool is_kept) {
  const auto wide = static_cast<int64_t>(sizeof(float));
  const int64_t each = is_kept ? 2 * element + wide + 1 : 4 * element + wide;
  return spec.head_count * squares * each;
}

// Of a micro-batch of documents of these lengths.
int64_t ActivationBytes(const Model& model, const LoraShape& lora,
                        const TrainingOptions& options,
                        const std::vector<DocumentLength>& pack) {
  const DecoderSpec& spec = model.spec();
  const auto element =
      static_cast<int64_t>(model.weights().embed.element_size());
  const bool checkpointing = options.activation_checkpointing;
  int64_t tokens = 0;
  int64_t squares = 0;
  for (const DocumentLength& own : pack) {
    tokens += own.tokens;
    squares += own.tokens * own.tokens;
  }
  int64_t all = 0;
  int64_t largest = 0;
  int64_t kept_blocks = 0;
  const std::vector<GroupRanks> ranks = RanksOf(model, lora);
  for (size_t b = 0; b < ranks.size(); ++b) {
    const int64_t kept = KeptBytes(spec, spec.blocks[b].has_experts, ranks[b],
                                   element, lora.element_bytes);
    if (all > 0 || ranks[b] != GroupRanks{}) {
      all += checkpointing ? spec.d_model * element : kept;
      ++kept_blocks;
    }
    largest = std::max(largest, kept);
  }
  // Gradients of a block's activations, while it runs backward.
  const int64_t backward =
      largest * (checkpointing ? 2 : 1) + 4 * spec.d_model * element;
  int64_t bytes = tokens * (all + backward) + 3 * kLossChunkBytes;
  if (spec.attn_softcap > 0) {
    bytes += CappedBytes(spec, squares, element, /*is_kept=*/true) *
             (checkpointing ? 1 : kept_blocks);
    bytes += CappedBytes(spec, squares, element, /*is_kept=*/false);
  }
  return bytes;
}

}  // namespace

TrainingMemory TrainingMemoryFor(const Model& model, const LoraShape& lora,
                                 const TrainingOptions& options,
                                 std::vector<DocumentLength> lengths) {
  std::stable_sort(lengths.begin(), lengths.end(),
                   [](const DocumentLength& a, const DocumentLength& b) {
                     return a.tokens > b.tokens;
                   });
  const auto most =
      std::min(lengths.size(), static_cast<size_t>(options.micro_batch_size));
  lengths.resize(most);
  const bool keeps_best = options.early_stop_patience > 0;
  const int64_t copies = keeps_best ? 5 : 4;
  // A checkpoint is a copy of all but the gradients, and of the adapter as it
  // is stored; no activations are there then.
  const int64_t checkpoint = (copies + 1) * lora.bytes();
  return {.state_bytes = copies * lora.bytes(),
          .activation_bytes = std::max(
              ActivationBytes(model, lora, options, lengths), checkpoint),
          .longest_line = lengths.front().line,
          .longest_bytes =
              ActivationBytes(model, lora, options, {lengths.front()})};
}

}  // namespace dissonance
