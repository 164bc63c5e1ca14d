// dissonance tokenize | detokenize | chat render.
#include <cstdint>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/connection.h"
#include "client/cli/errors.h"
#include "client/cli/input_file.h"
#include "client/cli/names.h"
#include "client/cli/proto_json.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

constexpr uint64_t kTextLimitBytes = 16 << 20;

Table TokenTable(
    const google::protobuf::RepeatedField<int32_t>& ids,
    const google::protobuf::RepeatedPtrField<std::string>& pieces) {
  Table table({{"INDEX", Align::kRight}, {"ID", Align::kRight}, {"PIECE"}});
  for (int i = 0; i < ids.size(); ++i) {
    table.AddRow({absl::StrCat(i), absl::StrCat(ids[i]),
                  i < pieces.size() ? pieces[i] : ""});
  }
  return table;
}

struct TokenizeArgs {
  std::string model;
  std::string text;
  std::string file;
  bool skip_special_tokens = false;
};

absl::Status Tokenize(const Session& session, const TokenizeArgs& args) {
  v1::TokenizeRequest request;
  request.set_model(ModelName(args.model));
  request.set_text(args.text);
  request.set_skip_special_tokens(args.skip_special_tokens);
  if (!args.file.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_text(),
                     ReadInput(args.file, kTextLimitBytes));
  }
  RETURN_IF_ERROR(CheckUtf8(
      request.text(), args.file.empty() ? "TEXT" : InputLabel(args.file)));
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                   connection->Call(&v1::Inference::Stub::Tokenize, request));
  EmitOne(session.output, ToJson(response),
          TokenTable(response.ids(), response.pieces()));
  return absl::OkStatus();
}

CommandRun DefineTokenize(CLI::App& app) {
  auto args = std::make_shared<TokenizeArgs>();
  app.add_option("--model", args->model, "Model whose tokenizer is meant")
      ->required();
  CLI::Option_group& source = *app.add_option_group("text");
  source.add_option("TEXT,--text", args->text, "Text to encode");
  source.add_option("--file", args->file, "File with the text; -: stdin");
  source.require_option(1);
  app.add_flag("--no-special-tokens", args->skip_special_tokens,
               "Encode without adding special tokens");
  return [args](const Session& session) { return Tokenize(session, *args); };
}

struct DetokenizeArgs {
  std::string model;
  std::vector<int32_t> ids;
  bool skip_special_tokens = false;
};

absl::Status Detokenize(const Session& session, const DetokenizeArgs& args) {
  v1::DetokenizeRequest request;
  request.set_model(ModelName(args.model));
  request.mutable_ids()->Add(args.ids.begin(), args.ids.end());
  request.set_skip_special_tokens(args.skip_special_tokens);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::DetokenizeResponse response,
                   connection->Call(&v1::Inference::Stub::Detokenize, request));
  EmitText(session.output, ToJson(response), response.text());
  return absl::OkStatus();
}

CommandRun DefineDetokenize(CLI::App& app) {
  auto args = std::make_shared<DetokenizeArgs>();
  app.add_option("--model", args->model, "Model whose tokenizer is meant")
      ->required();
  app.add_option("IDS,--tokens", args->ids, "Token ids: 1,2,3")
      ->required()
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--no-special-tokens", args->skip_special_tokens,
               "Leave special tokens out of the text");
  return [args](const Session& session) { return Detokenize(session, *args); };
}

struct RenderArgs {
  std::string model;
  std::string chat;
  std::string template_kwargs;
  bool add_generation_prompt = false;
};

absl::Status Render(const Session& session, const RenderArgs& args) {
  v1::RenderChatRequest request;
  request.set_model(ModelName(args.model));
  ASSIGN_OR_RETURN(*request.mutable_chat(),
                   ReadChat(args.chat, kTextLimitBytes));
  request.mutable_chat()->set_add_generation_prompt(args.add_generation_prompt);
  request.mutable_chat()->set_template_kwargs_json(args.template_kwargs);
  ASSIGN_OR_RETURN(auto connection, Connection::Open(session.settings));
  ASSIGN_OR_RETURN(const v1::RenderChatResponse response,
                   connection->Call(&v1::Inference::Stub::RenderChat, request));
  EmitText(session.output, ToJson(response), response.text());
  return absl::OkStatus();
}

CommandRun DefineRender(CLI::App& app) {
  auto args = std::make_shared<RenderArgs>();
  app.add_option("--model", args->model, "Model whose template is meant")
      ->required();
  app.add_option("--chat", args->chat,
                 "JSON file [{\"role\": R, \"content\": C}, ...]; -: stdin")
      ->required();
  app.add_flag("--add-generation-prompt", args->add_generation_prompt,
               "End with the opening of an assistant turn");
  app.add_option("--template-kwargs", args->template_kwargs,
                 "JSON object of further template variables");
  return [args](const Session& session) { return Render(session, *args); };
}

}  // namespace

std::vector<Command> TextCommands() {
  return {
      {"tokenize", "", "Text to token ids", DefineTokenize},
      {"detokenize", "", "Token ids to text", DefineDetokenize},
      {"chat", "render", "Conversation to text by the model's chat template",
       DefineRender},
  };
}

}  // namespace dissonance::cli
