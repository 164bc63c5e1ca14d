// Options whose value is one of a few words. Thread compatible.
//
//   AddChoice<v1::DType>(app, "--dtype", "TYPE", args->dtype,
//                        {{"float32", v1::DTYPE_FLOAT32}, ...},
//                        "Compute type");
#ifndef DISSONANCE_CLIENT_CLI_CHOICE_H_
#define DISSONANCE_CLIENT_CLI_CHOICE_H_

#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dissonance::cli {

template <typename T>
using Choices = std::vector<std::pair<std::string, T>>;

// The value of `word`; throws what the parser reports as a usage error.
template <typename T>
T ChosenValue(const std::string& option, const std::string& word,
              const Choices<T>& choices) {
  for (const auto& [name, value] : choices) {
    if (name == word) return value;
  }
  throw CLI::ValidationError(
      option, absl::StrCat("'", word, "' is none of ",
                           absl::StrJoin(choices, ", ",
                                         [](std::string* out, const auto& one) {
                                           out->append(one.first);
                                         })));
}

// `place` stands for the word in the help. `value` outlives the parsing.
template <typename T, typename Target>
CLI::Option* AddChoice(CLI::App& app, const std::string& option,
                       const std::string& place, Target& value,
                       const Choices<T>& choices,
                       const std::string& description) {
  return app
      .add_option_function<std::string>(
          option,
          [&value, option, choices](const std::string& word) {
            value = ChosenValue(option, word, choices);
          },
          description)
      ->type_name(place);
}

// The same for several words, separated by commas.
template <typename T>
CLI::Option* AddChoiceList(CLI::App& app, const std::string& option,
                           const std::string& place, std::vector<T>& values,
                           const Choices<T>& choices,
                           const std::string& description) {
  return app
      .add_option_function<std::vector<std::string>>(
          option,
          [&values, option, choices](const std::vector<std::string>& words) {
            values.clear();
            for (const std::string& word : words) {
              values.push_back(ChosenValue(option, word, choices));
            }
          },
          description)
      ->delimiter(',')
      ->type_name(place);
}

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_CHOICE_H_
