#include "src/lab/directions/probe_file.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "src/base/json_lines.h"
#include "src/base/status_macros.h"
#include "src/lab/tensors/place_name.h"
#include "src/lab/tensors/safetensors_reader.h"

namespace dissonance {
namespace {

constexpr char kDirection[] = ".direction";

// A probe of the file.
struct Entry {
  std::string name;
  std::string target;
  int32_t variant_index = 0;
  v1::SiteRef place;
  double c = 0;
  double norm = 0;
  double residual_norm = 0;
  double bias = 0;
};

absl::Status NotAProbeFile(absl::string_view job) {
  return absl::DataLossError(
      absl::StrCat(kProbeFileName, " of ", job,
                   " is not as train_probes writes it; replay the job"));
}

// What NAME and its figures say; nullopt if they are not of that form.
std::optional<Entry> EntryOf(const std::string& name,
                             const nlohmann::json& figures) {
  Entry entry;
  entry.name = name;
  const auto number = [&figures](const char* key, double& out) {
    const auto found = figures.find(key);
    if (found == figures.end() || !found->is_number()) return false;
    out = found->get<double>();
    return true;
  };
  if (!figures.is_object() || !figures.contains("target") ||
      !figures["target"].is_string() || !number("c", entry.c)) {
    return std::nullopt;
  }
  // Probes of several classes have neither.
  number("norm", entry.norm);
  number("bias", entry.bias);
  number("residual_norm", entry.residual_norm);
  entry.target = figures["target"].get<std::string>();
  absl::string_view rest = name;
  const size_t end = rest.rfind(".c");
  if (!absl::ConsumePrefix(&rest, absl::StrCat(entry.target, ".")) ||
      end == absl::string_view::npos || end <= entry.target.size()) {
    return std::nullopt;
  }
  rest.remove_suffix(name.size() - end);
  const size_t dot = rest.find('.');
  if (dot == absl::string_view::npos ||
      !absl::SimpleAtoi(rest.substr(0, dot), &entry.variant_index)) {
    return std::nullopt;
  }
  const auto place = ParsePlaceName(rest.substr(dot + 1));
  if (!place.has_value()) return std::nullopt;
  entry.place = *place;
  return entry;
}

absl::StatusOr<std::vector<Entry>> EntriesOf(const TensorFile& file,
                                             absl::string_view job) {
  const auto probes = file.metadata().find("probes");
  if (probes == file.metadata().end()) return NotAProbeFile(job);
  const auto json = ParseJson(probes->second, "probes");
  if (!json.ok() || !json->is_object()) return NotAProbeFile(job);
  std::vector<Entry> entries;
  for (const auto& [name, figures] : json->items()) {
    std::optional<Entry> entry = EntryOf(name, figures);
    if (!entry.has_value()) return NotAProbeFile(job);
    entries.push_back(*std::move(entry));
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) {
                     return std::pair(a.place.site(), a.place.block()) <
                            std::pair(b.place.site(), b.place.block());
                   });
  return entries;
}

// Leaves those entries of which `key` gives `asked`, or, if that is empty, the
// only value that there is.
template <typename Value, typename Key>
absl::Status Choose(const std::string& field, std::optional<Value> asked,
                    Key key, std::vector<Entry>& entries) {
  std::set<Value> values;
  for (const Entry& entry : entries) values.insert(key(entry));
  if (!asked.has_value() && values.size() == 1) asked = *values.begin();
  if (!asked.has_value() || !values.contains(*asked)) {
    return absl::InvalidArgumentError(
        absl::StrCat("probes.", field, ": ",
                     asked.has_value()
                         ? absl::StrCat("there are no probes of ", *asked, "; ")
                         : "",
                     "the job has them of ", absl::StrJoin(values, ", "),
                     "; give one of these"));
  }
  std::erase_if(entries,
                [&](const Entry& entry) { return key(entry) != *asked; });
  return absl::OkStatus();
}

absl::Status ChoosePlaces(const v1::ProbeVectors& asked,
                          std::vector<Entry>& entries) {
  if (asked.places().empty()) return absl::OkStatus();
  std::vector<Entry> chosen;
  for (const v1::SiteRef& place : asked.places()) {
    const auto found = std::find_if(
        entries.begin(), entries.end(),
        [&](const Entry& entry) { return IsSamePlace(entry.place, place); });
    if (found == entries.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("probes.places: ", asked.job(), " has no probe at ",
                       PlaceName(place)));
    }
    chosen.push_back(*found);
  }
  entries = std::move(chosen);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<v1::DirectionVector>> ReadProbeVectors(
    std::string bytes, const v1::ProbeVectors& asked,
    v1::ProbeVectors* chosen) {
  absl::StatusOr<TensorFile> file =
      TensorFile::Parse(std::move(bytes), kProbeFileName);
  if (!file.ok()) return NotAProbeFile(asked.job());
  ASSIGN_OR_RETURN(std::vector<Entry> entries, EntriesOf(*file, asked.job()));
  std::optional<std::string> target;
  if (!asked.target().empty()) target = asked.target();
  RETURN_IF_ERROR(Choose<std::string>(
      "target", target, [](const Entry& entry) { return entry.target; },
      entries));
  RETURN_IF_ERROR(Choose<int32_t>(
      "variant_index", asked.variant_index(),
      [](const Entry& entry) { return entry.variant_index; }, entries));
  std::optional<double> c;
  if (asked.c() != 0) c = asked.c();
  RETURN_IF_ERROR(Choose<double>(
      "c", c, [](const Entry& entry) { return entry.c; }, entries));
  RETURN_IF_ERROR(ChoosePlaces(asked, entries));
  if (chosen != nullptr) {
    *chosen = asked;
    chosen->set_target(entries.front().target);
    chosen->set_c(entries.front().c);
  }
  const std::vector<std::string> names = file->names();
  std::vector<v1::DirectionVector> vectors;
  for (const Entry& entry : entries) {
    const std::string tensor = entry.name + kDirection;
    if (!std::binary_search(names.begin(), names.end(), tensor)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "probes.target: the probe ", entry.name,
          " has no direction, as those of several classes; name a target of "
          "two classes"));
    }
    v1::DirectionVector& vector = vectors.emplace_back();
    *vector.mutable_place() = entry.place;
    ASSIGN_OR_RETURN(*vector.mutable_vector(), file->Read(tensor));
    vector.set_norm(entry.norm);
    vector.set_residual_norm(entry.residual_norm);
    vector.set_bias(entry.bias);
  }
  return vectors;
}

}  // namespace dissonance
