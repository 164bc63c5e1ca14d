// Options whose value a function reads from the word, saying what is wrong
// with it, and checks of numbers. Thread compatible.
//
//   AddParsed(app, "--positions", "POSITIONS", args->positions,
//             ParsePositions, "Which positions");
#ifndef DISSONANCE_CLIENT_CLI_PARSED_OPTION_H_
#define DISSONANCE_CLIENT_CLI_PARSED_OPTION_H_

#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace dissonance::cli {

// What `parsed` holds; throws what the parser reports as a usage error.
template <typename T>
T ParsedValue(const std::string& option, absl::StatusOr<T> parsed) {
  if (!parsed.ok()) {
    throw CLI::ValidationError(option, std::string(parsed.status().message()));
  }
  return *std::move(parsed);
}

// `place` stands for the word in the help; `parse` takes the word and returns
// a StatusOr of what `value` holds. `value` outlives the parsing.
template <typename Target, typename Parse>
CLI::Option* AddParsed(CLI::App& app, const std::string& option,
                       const std::string& place, Target& value, Parse parse,
                       const std::string& description) {
  return app
      .add_option_function<std::string>(
          option,
          [&value, option, parse](const std::string& word) {
            value = ParsedValue(option, parse(word));
          },
          description)
      ->type_name(place);
}

// A check of numbers from `least` on, with a message for people.
inline CLI::Validator AtLeast(double least) {
  return CLI::Validator(
      [least](const std::string& word) -> std::string {
        double number = 0;
        if (absl::SimpleAtod(word, &number) && number >= least) return "";
        return absl::StrCat("'", word, "' is no number from ", least, " on");
      },
      /*validator_desc=*/"");
}

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PARSED_OPTION_H_
