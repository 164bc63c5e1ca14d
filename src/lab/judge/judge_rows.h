// Rows that a judge is given and gives, JSON lines, and the free answers among
// them: {id, question, answer}, and where they are known {sample, variant,
// model, category, difficulty}. Values; pure functions; thread safe.
//
//   ASSIGN_OR_RETURN(std::vector<FreeAnswer> answers,
//                    ReadAnswers({{"answers_base.jsonl", text}, ...}));
#ifndef DISSONANCE_LAB_JUDGE_JUDGE_ROWS_H_
#define DISSONANCE_LAB_JUDGE_JUDGE_ROWS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"

namespace dissonance {

// A file's name, for messages, and what is in it.
struct NamedText {
  std::string name;
  std::string contents;
};

// Reads the fields of one row. Errors are INVALID_ARGUMENT and say where, as in
// "answers.jsonl:7: question: missing". Refers to the row, which must outlive
// it.
class RowFields {
 public:
  RowFields(const nlohmann::json& row, std::string where)
      : row_(row), where_(std::move(where)) {}

  const nlohmann::json& row() const { return row_; }
  const std::string& where() const { return where_; }
  absl::Status Error(absl::string_view field, absl::string_view what) const;

  // A string, maybe an empty one.
  absl::StatusOr<std::string> Text(absl::string_view field) const;
  // A string with more than white space in it.
  absl::StatusOr<std::string> FilledText(absl::string_view field) const;
  // `otherwise` where the field is absent or null.
  absl::StatusOr<std::string> TextOr(absl::string_view field,
                                     absl::string_view otherwise) const;
  // A whole number from 0 on.
  absl::StatusOr<int64_t> CountOr(absl::string_view field,
                                  int64_t otherwise) const;

 private:
  bool Has(absl::string_view field) const;

  const nlohmann::json& row_;
  const std::string where_;
};

// Which answer it is.
struct AnswerLabel {
  std::string variant;  // "base", "lora", ...
  std::string id;       // the question's
  int64_t sample = 0;
  std::string model = {};       // who answered; empty: not told
  std::string category = {};    // likewise
  std::string difficulty = {};  // likewise
};

absl::StatusOr<AnswerLabel> ReadLabel(const RowFields& fields);
// Puts it into a row; what is not told is null there.
void AddLabel(const AnswerLabel& label, nlohmann::json& row);

struct FreeAnswer {
  AnswerLabel label;
  std::string question;
  std::string answer;
};

// Refuses a row whose key another row has.
class RowKeys {
 public:
  // INVALID_ARGUMENT, naming both places.
  absl::Status Add(const RowFields& fields, const std::string& key,
                   absl::string_view what);

 private:
  std::map<std::string, std::string> places_;  // by key
};

// The answers of the files, one after another. INVALID_ARGUMENT with file, line
// and field; if there is none; if two rows are of one variant, id and sample.
absl::StatusOr<std::vector<FreeAnswer>> ReadAnswers(
    absl::Span<const NamedText> files);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_JUDGE_JUDGE_ROWS_H_
