// What `dissonance generate` does once its options are known: asks request by
// request, shows text as it comes, and ends with records or a summary. Not
// thread safe. Borrows everything it is given.
//
//   GenerateRun run(*connection, *interrupts, plan);
//   RETURN_IF_ERROR(run.Run());
#ifndef DISSONANCE_CLIENT_CLI_GENERATE_RUN_H_
#define DISSONANCE_CLIENT_CLI_GENERATE_RUN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cli/connection.h"
#include "client/cli/generation.h"
#include "client/cli/generation_text.h"
#include "client/cli/heat.h"
#include "client/cli/input_rows.h"
#include "client/cli/interrupts.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "client/cli/variant_options.h"
#include "dissonance/v1/inference.pb.h"

namespace dissonance::cli {

struct GeneratePlan {
  // A table: text for people.
  OutputFormat format = OutputFormat::kTable;
  // Whether JSON is a list, also of one.
  bool is_list = false;
  // One or more of each; variants in the order in which they are shown.
  std::vector<NamedVariant> variants;
  std::vector<InputRow> rows;
  // All but variants and inputs.
  v1::GenerateRequest request;
};

class GenerateRun {
 public:
  GenerateRun(Connection& connection, Interrupts& interrupts,
              const GeneratePlan& plan);

  // CANCELLED after Ctrl-C; what was written by then stays.
  absl::Status Run();

 private:
  using OnEvent = std::function<absl::Status(const v1::GenerateResponse&)>;

  bool is_text() const { return plan_.format == OutputFormat::kTable; }
  // Whether text is coloured by what the first meter reads.
  bool is_coloured() const {
    return !plan_.request.meters().empty() && UsesColour();
  }
  std::vector<std::string> MeterNames() const;
  int variant_count() const { return static_cast<int>(plan_.variants.size()); }
  int sample_count() const;

  // Learns how text can be shown.
  absl::Status PrepareText();
  absl::Status RunRequest(absl::Span<const InputRow> rows);
  v1::GenerateRequest RequestFor(absl::Span<const InputRow> rows) const;
  GenerationLabels LabelsFor(absl::Span<const InputRow> rows) const;
  // Reads the answer; asks again while a worker is being restarted.
  absl::Status Stream(const v1::GenerateRequest& request,
                      const OnEvent& on_event);
  absl::Status StreamOnce(const v1::GenerateRequest& request,
                          const OnEvent& on_event);
  void ShowProgress(const Generations& generations);
  // What of a request's text was not streamed, and how its samples ended.
  void EndText(GenerationText& text);
  void AddRecords(const Generations& generations,
                  absl::Span<const InputRow> rows);
  void EmitJson();

  Connection& connection_;
  Interrupts& interrupts_;
  const GeneratePlan& plan_;
  ProgressDisplay progress_;
  bool has_tokenizer_ = true;
  int columns_width_ = 0;  // 0: texts come one after the other
  // Of the requests before.
  int64_t prompt_tokens_ = 0;
  int64_t generated_tokens_ = 0;
  int64_t unused_tokens_ = 0;
  std::vector<nlohmann::json> records_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_GENERATE_RUN_H_
