#include "client/cli/pipeline_file.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "client/cli/names.h"
#include "client/cli/toml_message.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "toml++/toml.h"

namespace dissonance::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr uint64_t kFileLimitBytes = uint64_t{1} << 20;
constexpr uint64_t kDataLimitBytes = uint64_t{256} << 20;
// Of one file; the pipeline has to fit into a message with all of them.
constexpr size_t kInlineLimitBytes = size_t{16} << 20;

std::string TextOf(const toml::table& table, const char* key) {
  return table[key].value<std::string>().value_or("");
}

// Reads one file.
class PipelineReader {
 public:
  PipelineReader(const std::string& path, const FileSender& send)
      : path_(path),
        send_(send),
        messages_(path, [this](const toml::node& value, const TomlField& at) {
          return Take(value, at);
        }) {}

  absl::StatusOr<v1::PipelineSpec> Read(const toml::table& file) {
    v1::PipelineSpec spec;
    for (const auto& [key, value] : file) {
      const std::string name(key.str());
      if (name == "title" || name == "force" || name == "stages" ||
          name == "networks") {
        continue;
      }
      return messages_.Bad(value, absl::StrCat("there is no ", name,
                                               "; there are title, force, "
                                               "[networks.NAME], [[stages]]"));
    }
    RETURN_IF_ERROR(messages_.Read(file, "", spec, {"networks", "stages"}));
    RETURN_IF_ERROR(ReadNetworks(file));
    const toml::array* stages = file["stages"].as_array();
    if (stages == nullptr || !stages->is_array_of_tables()) {
      return messages_.Bad(file, "there are no [[stages]]");
    }
    for (const toml::node& stage : *stages) {
      RETURN_IF_ERROR(ReadStage(*stage.as_table(), *spec.add_stages()));
    }
    RETURN_IF_ERROR(CheckSources(spec));
    return spec;
  }

 private:
  absl::Status ReadNetworks(const toml::table& file) {
    const toml::node* given = file.get("networks");
    if (given == nullptr) return absl::OkStatus();
    const toml::table* networks = given->as_table();
    if (networks == nullptr) {
      return messages_.Bad(*given, "networks are tables: [networks.NAME]");
    }
    for (const auto& [key, value] : *networks) {
      const std::string name(key.str());
      const toml::table* table = value.as_table();
      if (table == nullptr) {
        return messages_.Bad(value, "a network is a table: [networks.NAME]");
      }
      v1::Variant network;
      RETURN_IF_ERROR(
          messages_.Read(*table, absl::StrCat("networks.", name), network));
      Name(network);
      networks_[name] = std::move(network);
    }
    return absl::OkStatus();
  }

  absl::Status CheckSources(const v1::PipelineSpec& spec) const {
    std::vector<std::string> names;
    for (const v1::PipelineStage& stage : spec.stages()) {
      names.push_back(stage.name());
    }
    for (const auto& [name, node] : sources_) {
      if (absl::c_linear_search(names, name)) continue;
      return messages_.Bad(
          *node, absl::StrCat("there is no stage \"", name, "\"; there are ",
                              absl::StrJoin(names, ", ")));
    }
    return absl::OkStatus();
  }

  // A kind of job that is misspelt looks like a field of the stage.
  absl::Status CheckStageKeys(const toml::table& table) const {
    std::vector<std::string> kinds;
    const auto& all = *v1::JobSpec::descriptor()->FindOneofByName("kind");
    for (int i = 0; i < all.field_count(); ++i) {
      if (all.field(i)->name() != "pipeline") {
        kinds.push_back(all.field(i)->name());
      }
    }
    for (const auto& [key, value] : table) {
      const std::string name(key.str());
      if (name == "name" || name == "gates" || name == "inputs" ||
          absl::c_linear_search(kinds, name)) {
        continue;
      }
      return messages_.Bad(
          value, absl::StrCat("stage: there is no ", name,
                              "; there are name, gates and one of the kinds "
                              "of jobs: ",
                              absl::StrJoin(kinds, ", ")));
    }
    return absl::OkStatus();
  }

  // What is beside the kind's table is the stage's own.
  absl::Status ReadStage(const toml::table& table, v1::PipelineStage& stage) {
    const toml::node* kind = nullptr;
    std::string kind_name;
    for (const auto& [key, value] : table) {
      const std::string name(key.str());
      const FieldDescriptor* field =
          v1::JobSpec::descriptor()->FindFieldByName(name);
      if (field == nullptr || name == "pipeline") continue;
      if (kind != nullptr) {
        return messages_.Bad(value, absl::StrCat("a stage is of one kind; ",
                                                 kind_name, " is there too"));
      }
      kind = &value;
      kind_name = name;
    }
    RETURN_IF_ERROR(CheckStageKeys(table));
    RETURN_IF_ERROR(messages_.Read(table, "stage", stage, {kind_name}));
    if (kind == nullptr) {
      return messages_.Bad(table,
                           "a stage needs the table of its kind, such as "
                           "[stages.evaluate_mcq]");
    }
    if (!kind->is_table()) {
      return messages_.Bad(*kind, absl::StrCat(kind_name, " is a table"));
    }
    v1::JobSpec& spec = *stage.mutable_spec();
    stage_ = &stage;
    RETURN_IF_ERROR(messages_.Read(
        *kind->as_table(), kind_name,
        *spec.GetReflection()->MutableMessage(
            &spec, v1::JobSpec::descriptor()->FindFieldByName(kind_name))));
    stage_ = nullptr;
    NameAll(spec);
    return absl::OkStatus();
  }

  // Values that mean more than themselves.
  absl::StatusOr<bool> Take(const toml::node& value, const TomlField& at) {
    const toml::table* table = value.as_table();
    std::string source;
    if (table != nullptr && table->contains("stage")) {
      source = TextOf(*table, "stage");
      if (source.empty()) {
        return messages_.Bad(value, absl::StrCat(at.path,
                                                 ".stage is the name "
                                                 "of a stage"));
      }
      sources_.emplace_back(source, &value);
    }
    const Descriptor* type = at.field.message_type();
    if (at.field.type() == FieldDescriptor::TYPE_BYTES) {
      return source.empty() ? TakeFile(value, at)
                            : TakeOutput(*table, source, at);
    }
    if (type == v1::SweepDirection::descriptor() && !source.empty()) {
      return TakeDirection(*table, source, at);
    }
    if (at.field.type() == FieldDescriptor::TYPE_STRING && !source.empty()) {
      AddInput(at.path, source, "");
      return true;
    }
    if (type == v1::Variant::descriptor() && value.is_string()) {
      return TakeNetwork(value, at);
    }
    if (type == v1::Positions::descriptor() && value.is_string()) {
      toml::table set;
      set.insert("set", value);
      RETURN_IF_ERROR(messages_.Read(
          set, at.path,
          *at.message.GetReflection()->MutableMessage(&at.message, &at.field)));
      return true;
    }
    return false;
  }

  void AddInput(const std::string& field, const std::string& stage,
                const std::string& file) {
    v1::StageInput& input = *stage_->add_inputs();
    input.set_field(field);
    input.set_stage(stage);
    input.set_file(file);
  }

  absl::StatusOr<bool> TakeOutput(const toml::table& table,
                                  const std::string& source,
                                  const TomlField& at) {
    const std::string file = TextOf(table, "file");
    if (file.empty()) {
      return messages_.Bad(
          table, absl::StrCat(at.path, ": say which file of ", source,
                              ": {stage = \"", source, "\", file = \"...\"}"));
    }
    AddInput(absl::StrCat(at.path, "_artifact"), source, file);
    SetDataName(at, file);
    return true;
  }

  absl::StatusOr<bool> TakeFile(const toml::node& value, const TomlField& at) {
    const std::optional<std::string> name = value.value_exact<std::string>();
    if (!name) {
      return messages_.Bad(
          value, absl::StrCat(at.path,
                              " is a file's path, or {stage, file} of another "
                              "stage"));
    }
    const std::string path =
        (std::filesystem::path(path_).parent_path() / *name).string();
    absl::StatusOr<std::string> bytes = ReadFile(path, kDataLimitBytes);
    if (!bytes.ok()) {
      return messages_.Bad(
          value, absl::StrCat(at.path, ": ", bytes.status().message()));
    }
    SetDataName(at, std::filesystem::path(path).filename().string());
    const Reflection& reflection = *at.message.GetReflection();
    const FieldDescriptor* artifact =
        at.message.GetDescriptor()->FindFieldByName(at.field.name() +
                                                    "_artifact");
    if (bytes->size() <= kInlineLimitBytes || artifact == nullptr) {
      reflection.SetString(&at.message, &at.field, *std::move(bytes));
      return true;
    }
    ASSIGN_OR_RETURN(std::string stored, send_(path, *bytes));
    reflection.SetString(&at.message, artifact, std::move(stored));
    return true;
  }

  static void SetDataName(const TomlField& at, const std::string& name) {
    const FieldDescriptor* field =
        at.message.GetDescriptor()->FindFieldByName(at.field.name() + "_name");
    if (field == nullptr) return;
    const Reflection& reflection = *at.message.GetReflection();
    if (reflection.GetString(at.message, field).empty()) {
      reflection.SetString(&at.message, field, name);
    }
  }

  absl::StatusOr<bool> TakeDirection(const toml::table& table,
                                     const std::string& source,
                                     const TomlField& at) {
    Message* child =
        at.message.GetReflection()->AddMessage(&at.message, &at.field);
    RETURN_IF_ERROR(messages_.Read(table, at.path, *child, {"stage"}));
    AddInput(at.path, source, "");
    return true;
  }

  absl::StatusOr<bool> TakeNetwork(const toml::node& value,
                                   const TomlField& at) {
    const std::string name = *value.value<std::string>();
    const auto found = networks_.find(name);
    if (found == networks_.end()) {
      return messages_.Bad(value, absl::StrCat(at.path, ": there is no [",
                                               "networks.", name, "]"));
    }
    const Reflection& reflection = *at.message.GetReflection();
    Message* child = at.field.is_repeated()
                         ? reflection.AddMessage(&at.message, &at.field)
                         : reflection.MutableMessage(&at.message, &at.field);
    child->CopyFrom(found->second);
    return true;
  }

  // Short names become resource names. A hosted model's name is its
  // endpoint's.
  static void Name(Message& message) {
    if (message.GetDescriptor() == v1::HostedModel::descriptor()) return;
    const Reflection& reflection = *message.GetReflection();
    const auto text = [&](const char* name) -> const FieldDescriptor* {
      const FieldDescriptor* field =
          message.GetDescriptor()->FindFieldByName(name);
      const bool is_given = field != nullptr &&
                            field->type() == FieldDescriptor::TYPE_STRING &&
                            !reflection.GetString(message, field).empty();
      return is_given ? field : nullptr;
    };
    const auto rename = [&](const FieldDescriptor* field, const auto& named) {
      if (field == nullptr) return;
      reflection.SetString(&message, field,
                           named(reflection.GetString(message, field)));
    };
    const FieldDescriptor* model = text("model");
    rename(model, ModelName);
    const std::string owner =
        model == nullptr ? "" : reflection.GetString(message, model);
    for (const char* field : {"adapter", "output_adapter"}) {
      rename(text(field), [&owner](const std::string& typed) {
        return AdapterName(owner, typed);
      });
    }
    rename(text("direction"), DirectionName);
  }

  static void NameAll(Message& message) {
    Name(message);
    const Reflection& reflection = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      if (field->message_type() == nullptr || field->is_map()) continue;
      if (!field->is_repeated()) {
        NameAll(*reflection.MutableMessage(&message, field));
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        NameAll(*reflection.MutableRepeatedMessage(&message, field, i));
      }
    }
  }

  const std::string path_;
  const FileSender& send_;
  const TomlMessages messages_;
  std::map<std::string, v1::Variant> networks_;
  // Names of stages that others take something of, and where.
  std::vector<std::pair<std::string, const toml::node*>> sources_;
  v1::PipelineStage* stage_ = nullptr;  // that is being read
};

// Of the field, "evaluate_mcq.data", or of what is there on the way to it.
uint32_t LineOf(const toml::node& stage, absl::string_view field) {
  const toml::node* at = &stage;
  for (const absl::string_view step : absl::StrSplit(field, '.')) {
    const toml::table* table = at->as_table();
    const toml::node* next =
        table == nullptr
            ? nullptr
            : table->get(std::string(step.substr(0, step.find('['))));
    if (next == nullptr) break;
    at = next;
  }
  return at->source().begin.line;
}

}  // namespace

absl::StatusOr<v1::PipelineSpec> ReadPipelineFile(const std::string& path,
                                                  const FileSender& send) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileLimitBytes));
  try {
    return PipelineReader(path, send).Read(toml::parse(text, path));
  } catch (const toml::parse_error& e) {
    return TomlError(path, e);
  }
}

absl::Status AtItsLine(const absl::Status& status, const std::string& path) {
  constexpr absl::string_view kStages = "pipeline.stages[";
  absl::string_view rest = status.message();
  const size_t begin = rest.find(kStages);
  if (begin == absl::string_view::npos) return status;
  rest.remove_prefix(begin + kStages.size());
  size_t index = 0;
  if (!absl::SimpleAtoi(rest.substr(0, rest.find(']')), &index)) return status;
  rest.remove_prefix(rest.find(']') + 1);
  if (absl::ConsumePrefix(&rest, " (")) {
    rest.remove_prefix(std::min(rest.size(), rest.find(')') + 1));
  }
  if (!absl::ConsumePrefix(&rest, ".")) absl::ConsumePrefix(&rest, ": ");
  const absl::string_view field = rest.substr(0, rest.find_first_of(": "));
  const absl::StatusOr<std::string> text = ReadFile(path, kFileLimitBytes);
  if (!text.ok()) return status;
  try {
    const toml::table file = toml::parse(*text, path);
    const toml::array* stages = file["stages"].as_array();
    if (stages == nullptr || index >= stages->size()) return status;
    return Annotate(
        status, absl::StrCat(path, ":", LineOf(*stages->get(index), field)));
  } catch (const toml::parse_error&) {
    return status;
  }
}

}  // namespace dissonance::cli
