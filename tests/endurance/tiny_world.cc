#include "tests/endurance/tiny_world.h"

#include <filesystem>
#include <system_error>

#include "nlohmann/json.hpp"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "tests/server/server_fixture.h"

namespace dissonance {
namespace {

constexpr char kConfigName[] = "/adapter_config.json";
constexpr uint64_t kConfigLimitBytes = 1 << 20;

}  // namespace

absl::Status MakeDropoutAdapter(const std::string& folder) {
  const std::string shipped = InTree("data/tiny_world/lora_cubic");
  std::error_code error;
  std::filesystem::copy(shipped, folder,
                        std::filesystem::copy_options::recursive, error);
  if (error) return absl::ErrnoToStatus(error.value(), folder);
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFile(shipped + kConfigName, kConfigLimitBytes));
  nlohmann::json config = nlohmann::json::parse(text);
  config["lora_dropout"] = 0.2;
  return WriteFileAtomically(folder + kConfigName, config.dump());
}

absl::Status LoadTinyWorldWithDropout(ServerProcess& server,
                                      const std::string& dropout_folder) {
  RETURN_IF_ERROR(LoadTinyWorld(server));
  return RegisterAdapter(server, kDropoutAdapter, dropout_folder).status();
}

}  // namespace dissonance
