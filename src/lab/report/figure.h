// A plot on the page: charts over one table of data, which is also a CSV file,
// a link to it, and a table below. What the charts show is said in words too.
// Pure; thread safe.
//
//   Figure figure = {.id = "mcq.accuracy", .title = "Accuracy by group", ...};
//   AddFigure(figure, section);  // also report/mcq.accuracy.csv
#ifndef DISSONANCE_LAB_REPORT_FIGURE_H_
#define DISSONANCE_LAB_REPORT_FIGURE_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "src/lab/report/section.h"

namespace dissonance {

// One chart: a Vega-Lite view without data. Texts of results stay out of its
// expressions, which do not take every text; so rows are chosen outside.
struct Panel {
  std::string title;  // empty: that of the figure says it
  std::string alt;    // its main figure, for those who do not see it
  nlohmann::json spec;
  // Values of fields, which its rows have; of all rows where it is empty.
  nlohmann::json where = nlohmann::json::object();
};

struct Figure {
  std::string id;         // unique on the page; also names the file
  std::string title;      // text
  std::string note = {};  // what to know when reading it, text; may be empty
  std::vector<std::string> networks =
      {};  // the legend; of VariantColour and -Shape
  std::vector<std::string> columns = {};
  std::vector<nlohmann::json> rows = {};  // numbers, texts, booleans or null
  std::vector<Panel> panels = {};
};

// Adds the figure's HTML and its CSV file.
void AddFigure(const Figure& figure, Section& section);

// Of `count` things at most `most` are shown, spread evenly: each one whose
// number, from 0, is a multiple of this.
size_t Stride(size_t count, size_t most);
// " One question of 3 is shown; the job's own files have all.", or nothing
// where all are.
std::string StrideNote(size_t stride, const std::string& what);

// Six digits of a number: so many tell points of a plot apart.
nlohmann::json Rounded(double value);

// A field on a channel; `type` is "quantitative", "nominal" or "ordinal".
nlohmann::json Channel(const std::string& field, const std::string& type,
                       const std::string& title);
// A share from 0 to 1, as per cent.
nlohmann::json ShareChannel(const std::string& field, const std::string& title);
// Whole numbers with whole ticks.
nlohmann::json CountChannel(const std::string& field, const std::string& title);

// Networks by colour, and by shape for those who do not see colours: the base
// model and the first other one look the same in every plot. `names` in the
// order in which they are listed.
nlohmann::json VariantColour(absl::Span<const std::string> names);
nlohmann::json VariantShape(absl::Span<const std::string> names);
// The colour itself, as a CSS value.
std::string ColourOf(absl::Span<const std::string> names, size_t index);

// A layer whose data are one empty row: marks at fixed places.
nlohmann::json Once(nlohmann::json layer);

}  // namespace dissonance

#endif  // DISSONANCE_LAB_REPORT_FIGURE_H_
