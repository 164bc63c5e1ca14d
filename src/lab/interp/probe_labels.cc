#include "src/lab/interp/probe_labels.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/base/status_macros.h"
#include "src/base/stratified_folds.h"

namespace dissonance {
namespace {

constexpr int kDefaultFolds = 5;
constexpr uint64_t kDefaultSeed = 42;
constexpr int kMaxTargets = 16;

bool IsRidge(const v1::ProbeOptions& options) {
  return options.method() == v1::PROBE_METHOD_RIDGE;
}

// The label of a row; nullopt where it has none.
std::optional<std::string> LabelOf(const v1::Input& input,
                                   const std::string& field) {
  const auto found = input.labels().find(field);
  if (found == input.labels().end()) return std::nullopt;
  return found->second;
}

// Class of a row by a rule with two classes; -1 leaves it out.
int32_t ClassOf(v1::LabelSource source, const v1::Input& input) {
  const std::string category = LabelOf(input, "category").value_or("");
  const bool conflict = absl::StartsWith(category, "conflict");
  switch (source) {
    case v1::LABEL_SOURCE_CATEGORY_CONFLICT:
      return category.empty() ? -1 : conflict ? 1 : 0;
    case v1::LABEL_SOURCE_CONFLICT_VS_HARD:
      return conflict ? 1 : category == "nonconflict_hard" ? 0 : -1;
    case v1::LABEL_SOURCE_WORLD_LABEL_TRUE: {
      const std::string world = LabelOf(input, "world_label").value_or("");
      return world == kTrueWorld ? 1 : world == kFalseWorld ? 0 : -1;
    }
    default: {
      const std::string difficulty = LabelOf(input, "difficulty").value_or("");
      return difficulty.empty() ? -1 : difficulty == "hard" ? 1 : 0;
    }
  }
}

struct Rule {
  const char* name;
  const char* field;  // that the rows need
  std::vector<std::string> class_names;
};

std::optional<Rule> RuleOf(v1::LabelSource source) {
  switch (source) {
    case v1::LABEL_SOURCE_CATEGORY_CONFLICT:
      return Rule{"category_conflict", "category", {"other", "conflict"}};
    case v1::LABEL_SOURCE_CONFLICT_VS_HARD:
      return Rule{
          "conflict_vs_hard", "category", {"nonconflict_hard", "conflict"}};
    case v1::LABEL_SOURCE_WORLD_LABEL_TRUE:
      return Rule{
          "world_label_true", "world_label", {"false_world", "true_world"}};
    case v1::LABEL_SOURCE_DIFFICULTY_HARD:
      return Rule{"difficulty_hard", "difficulty", {"other", "hard"}};
    case v1::LABEL_SOURCE_ANSWERED_FALSE:
      return Rule{"answered_false", "", {"true answer", "false answer"}};
    default:
      return std::nullopt;
  }
}

// Applies one rule.
class QuestionMaker {
 public:
  // `where` is the rule's field.
  QuestionMaker(const SpecFields& fields, std::string where, bool is_ridge,
                const PromptSet& set)
      : fields_(fields),
        where_(std::move(where)),
        is_ridge_(is_ridge),
        set_(set) {}

  absl::StatusOr<ProbeQuestion> Make(const v1::LabelRule& rule) {
    ProbeQuestion question;
    if (rule.source() == v1::LABEL_SOURCE_FIELD) {
      RETURN_IF_ERROR(TakeField(rule, question));
    } else {
      const std::optional<Rule> known = RuleOf(rule.source());
      if (!known.has_value()) return Bad("source", "expected a LabelSource");
      question.name = known->name;
      question.class_names = known->class_names;
      if (is_ridge_) {
        return Bad(
            "source",
            "ridge regression needs a label that is a number; use FIELD");
      }
      if (rule.source() == v1::LABEL_SOURCE_ANSWERED_FALSE) {
        question.is_answered = true;
        RETURN_IF_ERROR(CheckAnswerable());
        return question;
      }
      RETURN_IF_ERROR(CheckField("source", known->field));
      for (const v1::Input& input : set_.inputs) {
        question.labels.add_classes(ClassOf(rule.source(), input));
      }
    }
    return question;
  }

 private:
  absl::Status Bad(absl::string_view field, absl::string_view what) const {
    return fields_.Bad(absl::StrCat(where_, ".", field), what);
  }

  // That some row has the label.
  absl::Status CheckField(absl::string_view spec_field,
                          const std::string& label) const {
    std::set<std::string> known;
    for (const v1::Input& input : set_.inputs) {
      for (const auto& [key, value] : input.labels()) known.insert(key);
    }
    if (known.contains(label)) return absl::OkStatus();
    return Bad(
        spec_field,
        absl::StrCat("no row has a label \"", label, "\"; there ",
                     known.empty()
                         ? "are none"
                         : absl::StrCat("are ", absl::StrJoin(known, ", "))));
  }

  absl::Status CheckAnswerable() const {
    if (set_.kind != PromptKind::kQuestions) {
      return Bad("source",
                 "answered_false needs multiple-choice questions: what a model "
                 "answers to other prompts is not known");
    }
    for (const McqItem& item : set_.questions) {
      if (TrueAnswer(item) && item.implied_false_answer) {
        return absl::OkStatus();
      }
    }
    return Bad("source",
               "answered_false needs questions with a false_answer beside "
               "their correct_answer, and no question has both");
  }

  absl::Status TakeField(const v1::LabelRule& rule, ProbeQuestion& question) {
    question.name = rule.field();
    RETURN_IF_ERROR(CheckField("field", rule.field()));
    if (is_ridge_) return TakeNumbers(rule, question);
    std::vector<std::string>& names = question.class_names;
    names.assign(rule.values().begin(), rule.values().end());
    std::set<std::string> found;
    for (const v1::Input& input : set_.inputs) {
      if (const auto label = LabelOf(input, rule.field())) found.insert(*label);
    }
    if (names.empty()) names.assign(found.begin(), found.end());
    for (size_t i = 0; i < names.size(); ++i) {
      const bool repeated = absl::c_count(names, names[i]) > 1;
      if (!repeated && found.contains(names[i])) continue;
      return Bad(
          absl::StrCat("values[", i, "]"),
          absl::StrCat("\"", names[i], "\" ",
                       repeated ? "is given twice" : "is the label of no row"));
    }
    for (const v1::Input& input : set_.inputs) {
      const std::optional<std::string> label = LabelOf(input, rule.field());
      const auto at = label ? absl::c_find(names, *label) : names.end();
      question.labels.add_classes(
          at == names.end() ? -1 : static_cast<int32_t>(at - names.begin()));
    }
    return absl::OkStatus();
  }

  absl::Status TakeNumbers(const v1::LabelRule& rule, ProbeQuestion& question) {
    if (!rule.values().empty()) {
      return Bad("values", "ridge regression has no classes; give none");
    }
    for (size_t i = 0; i < set_.inputs.size(); ++i) {
      const std::optional<std::string> label =
          LabelOf(set_.inputs[i], rule.field());
      double value = std::numeric_limits<double>::quiet_NaN();
      if (label &&
          (!absl::SimpleAtod(*label, &value) || !std::isfinite(value))) {
        return absl::InvalidArgumentError(
            absl::StrCat(set_.places[i], ": ", rule.field(), ": \"", *label,
                         "\" is not a number, as ridge regression needs"));
      }
      question.labels.add_values(value);
    }
    return absl::OkStatus();
  }

  const SpecFields& fields_;
  const std::string where_;
  const bool is_ridge_;
  const PromptSet& set_;
};

// Rows and groups of a class.
struct ClassSize {
  int64_t rows = 0;
  std::set<std::string> groups = {};

  void Add(const v1::Input& input, size_t row) {
    ++rows;
    // A row without a group is one of its own.
    groups.insert(input.group().empty() ? absl::StrCat("\n", row)
                                        : input.group());
  }
};

// That the folds which the worker will make have every class: groups of unlike
// size may leave one without. Options out of range are the worker's to refuse.
absl::Status CheckClassFolds(const v1::ProbeLabels& labels,
                             const v1::ProbeOptions& options,
                             const PromptSet& set, int folds) {
  std::vector<std::string> names;
  for (const v1::Input& input : set.inputs) names.push_back(input.group());
  std::vector<int64_t> used;
  GroupedRows rows;
  for (int i = 0; i < labels.classes_size(); ++i) {
    if (labels.classes(i) < 0) continue;
    used.push_back(i);
    rows.classes.push_back(labels.classes(i));
    rows.class_count =
        std::max<int64_t>(rows.class_count, labels.classes(i) + 1);
  }
  rows.groups = NumberGroups(names, used);
  if (options.fold_of_input().empty()) {
    const uint64_t seed = options.has_seed() ? options.seed() : kDefaultSeed;
    return folds < 2 ? absl::OkStatus()
                     : CheckFolds(rows, CrossValidationFolds(rows, folds, seed),
                                  folds);
  }
  std::vector<int32_t> given;
  for (const int64_t row : used) {
    const bool is_there = row < options.fold_of_input_size();
    const int32_t fold =
        is_there ? options.fold_of_input(static_cast<int>(row)) : folds;
    if (fold < -1 || fold >= folds) return absl::OkStatus();
    given.push_back(fold);
  }
  return CheckFolds(rows, given, folds);
}

}  // namespace

absl::StatusOr<std::vector<ProbeQuestion>> ProbeQuestionsOf(
    const v1::TrainProbesSpec& spec, const PromptSet& set) {
  const SpecFields fields("train_probes");
  if (spec.targets().empty() || spec.targets_size() > kMaxTargets) {
    return fields.Bad("targets", absl::StrCat("expected 1 to ", kMaxTargets,
                                              ", found ", spec.targets_size()));
  }
  std::vector<ProbeQuestion> questions;
  for (int t = 0; t < spec.targets_size(); ++t) {
    const std::string where = absl::StrCat("targets[", t, "]");
    QuestionMaker maker(fields, where, IsRidge(spec.options()), set);
    ASSIGN_OR_RETURN(ProbeQuestion question, maker.Make(spec.targets(t)));
    if (!question.is_answered) {
      RETURN_IF_ERROR(Annotate(
          CheckFit(question.labels, spec.options(), set),
          absl::StrCat("train_probes.", where, " (", question.name, ")")));
    }
    for (size_t other = 0; other < questions.size(); ++other) {
      if (questions[other].name != question.name) continue;
      return fields.Bad(absl::StrCat("targets[", t, "]"),
                        absl::StrCat("has the name \"", question.name,
                                     "\" of targets[", other, "]"));
    }
    questions.push_back(std::move(question));
  }
  return questions;
}

absl::StatusOr<ProbeQuestion> ClassesOf(const v1::LabelRule& rule,
                                        const SpecFields& fields,
                                        const std::string& where,
                                        const PromptSet& set) {
  ASSIGN_OR_RETURN(
      ProbeQuestion question,
      QuestionMaker(fields, where, /*is_ridge=*/false, set).Make(rule));
  if (!question.is_answered) return question;
  return fields.Bad(absl::StrCat(where, ".source"),
                    "what a network answers is not known here; take another "
                    "rule, or a probe of it (train_probes)");
}

v1::ProbeLabels AnsweredLabels(const PromptSet& set,
                               absl::Span<const int32_t> answers) {
  v1::ProbeLabels labels;
  for (size_t i = 0; i < set.questions.size(); ++i) {
    const McqItem& item = set.questions[i];
    const std::optional<int> right = TrueAnswer(item);
    const bool known = right.has_value() && item.implied_false_answer;
    labels.add_classes(known && answers[i] == *item.implied_false_answer ? 1
                       : known && answers[i] == *right                   ? 0
                                                                         : -1);
  }
  return labels;
}

absl::Status CheckFit(const v1::ProbeLabels& labels,
                      const v1::ProbeOptions& options, const PromptSet& set) {
  const int folds =
      options.fold_count() == 0 ? kDefaultFolds : options.fold_count();
  std::map<int32_t, ClassSize> classes;
  if (IsRidge(options)) {
    ClassSize all;
    for (int i = 0; i < labels.values_size(); ++i) {
      if (!std::isnan(labels.values(i))) {
        all.Add(set.inputs[static_cast<size_t>(i)], static_cast<size_t>(i));
      }
    }
    if (static_cast<int>(all.groups.size()) >= 2 * folds) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat(all.groups.size(),
                     " rows or groups have a number, fewer than two for "
                     "each of ",
                     folds, " folds; use fewer folds, or more rows"));
  }
  for (int i = 0; i < labels.classes_size(); ++i) {
    if (labels.classes(i) < 0) continue;
    classes[labels.classes(i)].Add(set.inputs[static_cast<size_t>(i)],
                                   static_cast<size_t>(i));
  }
  if (classes.size() < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        classes.empty() ? "no row has a class"
                        : absl::StrCat("all ", classes.begin()->second.rows,
                                       " labelled rows are of class ",
                                       classes.begin()->first),
        "; a probe needs two classes to tell apart"));
  }
  const bool tells_two = options.method() == v1::PROBE_METHOD_MASS_MEAN ||
                         options.method() == v1::PROBE_METHOD_LDA;
  if (tells_two && classes.size() > 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("there are ", classes.size(),
                     " classes, and mass_mean and lda tell two apart; give the "
                     "two in values, or use logistic"));
  }
  for (const auto& [own, size] : classes) {
    const auto groups = static_cast<int>(size.groups.size());
    if (groups >= folds || !options.fold_of_input().empty()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "class ", own, " has ", size.rows, " rows",
        groups == size.rows ? "" : absl::StrCat(" in ", groups, " groups"),
        ", fewer than the ", folds, " folds; use fewer folds, or more rows"));
  }
  return CheckClassFolds(labels, options, set, folds);
}

}  // namespace dissonance
