#include "src/compute/model/end_tokens.h"

#include "absl/strings/str_cat.h"
#include "src/base/file.h"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr size_t kMaxConfigBytes = 4 << 20;

}  // namespace

absl::StatusOr<std::vector<int32_t>> EndTokensOf(const nlohmann::json& config,
                                                 const std::string& where) {
  using nlohmann::json;
  std::vector<int32_t> tokens;
  const auto it = config.find("eos_token_id");
  if (it == config.end() || it->is_null()) return tokens;
  const json list = it->is_array() ? *it : json::array({*it});
  for (const json& id : list) {
    if (!id.is_number_integer()) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": \"eos_token_id\" must be a token id or a list of them"));
    }
    tokens.push_back(id.get<int32_t>());
  }
  return tokens;
}

absl::StatusOr<std::vector<int32_t>> GenerationEndTokens(
    const std::string& directory, const DecoderSpec& spec) {
  const std::string path = directory + "/generation_config.json";
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxConfigBytes);
  if (absl::IsNotFound(text.status())) return spec.eos_token_ids;
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const nlohmann::json config, ParseJson(*text, path));
  if (!config.is_object()) {
    return absl::InvalidArgumentError(path + ": expected a JSON object");
  }
  ASSIGN_OR_RETURN(std::vector<int32_t> tokens, EndTokensOf(config, path));
  return tokens.empty() ? spec.eos_token_ids : tokens;
}

}  // namespace dissonance
