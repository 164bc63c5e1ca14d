#include "client/cli/completion.h"

#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace dissonance::cli {
namespace {

struct Flag {
  std::string name;  // "--model"
  std::string help;
  bool takes_value = false;
};

// A place in the command line: "", " models", " models load".
struct Place {
  std::string path;
  std::vector<std::string> verbs;
  std::vector<Flag> flags;
};

void AddFlags(const CLI::App& app, Place& place) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      place.flags.push_back({absl::StrCat("--", name),
                             option->get_description(),
                             option->get_type_size() != 0});
    }
  }
}

// Adds the place of `app` and of everything below it.
void AddPlaces(const CLI::App& app, const std::string& path,
               std::vector<Place>& places) {
  Place place{path, {}, {}};
  AddFlags(app, place);
  std::vector<const CLI::App*> nested;
  for (const CLI::App* child :
       app.get_subcommands([](const CLI::App*) { return true; })) {
    // An option group is a child without a name.
    if (child->get_name().empty()) {
      AddFlags(*child, place);
    } else {
      place.verbs.push_back(child->get_name());
      nested.push_back(child);
    }
  }
  places.push_back(place);
  for (const CLI::App* child : nested) {
    AddPlaces(*child, absl::StrCat(path, " ", child->get_name()), places);
  }
}

// The options of the root are taken everywhere.
std::vector<Place> PlacesOf(const CLI::App& root) {
  std::vector<Place> places;
  AddPlaces(root, "", places);
  const std::vector<Flag> everywhere = places.front().flags;
  for (size_t i = 1; i < places.size(); ++i) {
    for (const Flag& flag : everywhere) {
      if (flag.name != "--help" && flag.name != "--version") {
        places[i].flags.push_back(flag);
      }
    }
  }
  return places;
}

std::string QuotedPaths(const std::vector<Place>& places,
                        const char* separator) {
  std::vector<std::string> paths;
  for (const Place& place : places) {
    if (!place.path.empty())
      paths.push_back(absl::StrCat("'", place.path, "'"));
  }
  return absl::StrJoin(paths, separator);
}

// The part that bash and zsh share: $place from $word, one word after another,
// then $candidates from $place.
std::string PosixStep(const std::vector<Place>& places) {
  return absl::StrCat("    case \"$place $word\" in\n      ",
                      QuotedPaths(places, "|"),
                      ") place=\"$place $word\" ;;\n    esac\n");
}

std::string PosixCandidates(const std::vector<Place>& places) {
  std::string out = "  case \"$place\" in\n";
  for (const Place& place : places) {
    std::vector<std::string> words = place.verbs;
    for (const Flag& flag : place.flags) words.push_back(flag.name);
    absl::StrAppend(&out, "    '", place.path, "') candidates='",
                    absl::StrJoin(words, " "), "' ;;\n");
  }
  return absl::StrCat(out,
                      "  esac\n  case \"$previous\" in\n"
                      "    -o|--output) candidates='table json jsonl' ;;\n"
                      "  esac\n");
}

std::string BashScript(const std::vector<Place>& places) {
  return absl::StrCat(
      "# eval \"$(dissonance completion bash)\"\n"
      "_dissonance() {\n"
      "  local current=\"${COMP_WORDS[COMP_CWORD]}\"\n"
      "  local previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
      "  local place='' candidates='' word\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n",
      PosixStep(places), "  done\n", PosixCandidates(places),
      "  COMPREPLY=($(compgen -W \"$candidates\" -- \"$current\"))\n"
      "}\n"
      "complete -o default -F _dissonance dissonance\n");
}

std::string ZshScript(const std::vector<Place>& places) {
  return absl::StrCat(
      "#compdef dissonance\n"
      "# eval \"$(dissonance completion zsh)\"\n"
      "_dissonance() {\n"
      "  local previous=\"${words[CURRENT-1]}\"\n"
      "  local place='' candidates='' word\n"
      "  for word in \"${(@)words[2,CURRENT-1]}\"; do\n",
      PosixStep(places), "  done\n", PosixCandidates(places),
      "  compadd -- ${=candidates} || _files\n"
      "}\n"
      "compdef _dissonance dissonance\n");
}

std::string FishQuoted(const std::string& text) {
  return absl::StrCat(
      "'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

std::string FishScript(const std::vector<Place>& places) {
  std::string out = absl::StrCat(
      "# dissonance completion fish | source\n"
      "function __dissonance_at\n"
      "  set -l place ''\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    switch \"$place $word\"\n"
      "      case ",
      QuotedPaths(places, " "),
      "\n        set place \"$place $word\"\n"
      "    end\n"
      "  end\n"
      "  test \"$place\" = \"$argv[1]\"\n"
      "end\n");
  for (const Place& place : places) {
    const std::string head = absl::StrCat(
        "complete -c dissonance -n ",
        FishQuoted(absl::StrCat("__dissonance_at '", place.path, "'")));
    if (!place.verbs.empty()) {
      absl::StrAppend(&out, head, " -f -a ",
                      FishQuoted(absl::StrJoin(place.verbs, " ")), "\n");
    }
    for (const Flag& flag : place.flags) {
      absl::StrAppend(&out, head, " -l ", flag.name.substr(2),
                      flag.name == "--output" ? " -s o -x -a 'table json jsonl'"
                      : flag.takes_value      ? " -r"
                                              : "",
                      " -d ", FishQuoted(flag.help), "\n");
    }
  }
  return out;
}

}  // namespace

std::string CompletionScript(const CLI::App& root, Shell shell) {
  const std::vector<Place> places = PlacesOf(root);
  switch (shell) {
    case Shell::kBash:
      return BashScript(places);
    case Shell::kZsh:
      return ZshScript(places);
    case Shell::kFish:
      return FishScript(places);
  }
  return "";
}

}  // namespace dissonance::cli
