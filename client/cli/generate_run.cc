#include "client/cli/generate_run.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/columns.h"
#include "client/cli/token_texts.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {
namespace {

// Of one request: enough to fill the server's batches, few enough that results
// come steadily.
constexpr int kSamplesPerRequest = 64;
// Narrower columns are hard to read.
constexpr int kLeastColumn = 30;
// More samples than these are summed up, not listed.
constexpr size_t kMostEndings = 16;

// 0: no terminal.
int TerminalWidth() {
  winsize size = {};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool IsTerminal(int fd) { return ::isatty(fd) == 1; }

void Write(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

absl::Status Cancelled() {
  return absl::CancelledError("generation was cancelled");
}

}  // namespace

GenerateRun::GenerateRun(Connection& connection, Interrupts& interrupts,
                         const GeneratePlan& plan)
    : connection_(connection),
      interrupts_(interrupts),
      plan_(plan),
      progress_(stderr, IsTerminal(STDERR_FILENO), Clock::Real()) {}

int GenerateRun::sample_count() const {
  return std::max(plan_.request.sample_count(), 1);
}

std::vector<std::string> GenerateRun::MeterNames() const {
  std::vector<std::string> names;
  for (const v1::Meter& meter : plan_.request.meters()) {
    names.push_back(meter.name());
  }
  return names;
}

absl::Status GenerateRun::PrepareText() {
  v1::GetModelRequest request;
  request.set_name(plan_.variants.front().variant.model());
  ASSIGN_OR_RETURN(const v1::GetModelResponse response,
                   connection_.CallAgain(&v1::Models::Stub::GetModel, request));
  has_tokenizer_ = !response.model().tokenizer_digest().empty();
  const int width = TerminalWidth();
  if (variant_count() > 1 &&
      ColumnWidth(variant_count(), width) >= kLeastColumn) {
    columns_width_ = width;
  }
  return absl::OkStatus();
}

v1::GenerateRequest GenerateRun::RequestFor(
    absl::Span<const InputRow> rows) const {
  v1::GenerateRequest request = plan_.request;
  for (const NamedVariant& each : plan_.variants) {
    *request.add_variants() = each.variant;
  }
  for (const InputRow& row : rows) *request.add_inputs() = row.input;
  return request;
}

GenerationLabels GenerateRun::LabelsFor(absl::Span<const InputRow> rows) const {
  GenerationLabels labels;
  for (const NamedVariant& each : plan_.variants) {
    labels.variants.push_back(each.name);
  }
  for (const InputRow& row : rows) labels.inputs.push_back(row.input.id());
  labels.name_inputs = plan_.rows.size() > 1;
  labels.has_tokenizer = has_tokenizer_;
  labels.escape = IsTerminal(STDOUT_FILENO);
  return labels;
}

absl::Status GenerateRun::StreamOnce(const v1::GenerateRequest& request,
                                     const OnEvent& on_event) {
  const std::unique_ptr<grpc::ClientContext> context = connection_.NewContext();
  absl::Status refused;
  absl::Status ended;
  const bool interrupted = interrupts_.During(
      [&] { context->TryCancel(); },
      [&] {
        const auto reader = connection_.stub<v1::Inference::Stub>().Generate(
            context.get(), request);
        v1::GenerateResponse event;
        while (refused.ok() && reader->Read(&event)) refused = on_event(event);
        if (!refused.ok()) context->TryCancel();
        ended = connection_.Explain(reader->Finish());
      });
  if (interrupted) return Cancelled();
  return refused.ok() ? ended : refused;
}

absl::Status GenerateRun::Stream(const v1::GenerateRequest& request,
                                 const OnEvent& on_event) {
  // What was shown can't be taken back.
  bool has_begun = false;
  const OnEvent on_each = [&](const v1::GenerateResponse& event) {
    has_begun = true;
    return on_event(event);
  };
  absl::Status status = StreamOnce(request, on_each);
  for (absl::Duration pause = absl::Milliseconds(200);
       absl::IsUnavailable(status) && !has_begun && pause < absl::Seconds(6);
       pause *= 2) {
    if (interrupts_.Wait(pause)) return Cancelled();
    status = StreamOnce(request, on_each);
  }
  return status;
}

void GenerateRun::ShowProgress(const Generations& generations) {
  const int64_t most = plan_.request.options().max_new_token_count();
  const auto samples = static_cast<int64_t>(plan_.rows.size()) *
                       variant_count() * sample_count();
  v1::Progress progress;
  progress.set_unit("tokens");
  progress.set_done_count(generated_tokens_ +
                          generations.generated_token_count());
  progress.set_total_count(samples * most - unused_tokens_ -
                           generations.UnusedTokens(most));
  progress_.Update(progress);
}

void GenerateRun::EndText(GenerationText& text) {
  progress_.Finish();
  const std::vector<std::string> meters = MeterNames();
  if (is_coloured()) {
    Write(text.Coloured(Heat(/*coloured=*/true), meters.front()));
  } else {
    Write(columns_width_ > 0 ? text.Columns(columns_width_) : text.Finish());
  }
  if (plan_.request.top_logprob_count() > 0) {
    TokenTexts texts(connection_, plan_.variants.front().variant.model());
    interrupts_.EndProcessDuring([&] {
      const Table table =
          text.TokenTable([&](int32_t token) { return texts.Quoted(token); });
      Write(absl::StrCat("\n", table.Render()));
    });
  }
  const std::vector<std::string> endings = text.Endings(meters);
  if (endings.size() > kMostEndings) return;
  for (const std::string& line : endings) progress_.Line(line);
}

void GenerateRun::AddRecords(const Generations& generations,
                             absl::Span<const InputRow> rows) {
  for (size_t input = 0; input < rows.size(); ++input) {
    for (size_t variant = 0; variant < plan_.variants.size(); ++variant) {
      nlohmann::json& record = records_.emplace_back(GenerationJson(
          generations.At(static_cast<int>(variant), static_cast<int>(input)),
          MeterNames()));
      record["id"] = rows[input].id;
      record["variant"] = plan_.variants[variant].name;
    }
  }
  if (plan_.format != OutputFormat::kJsonLines) return;
  Emit(plan_.format, records_, Table({{""}}));
  std::fflush(stdout);
  records_.clear();
}

void GenerateRun::EmitJson() {
  if (plan_.is_list) {
    Emit(OutputFormat::kJson, records_, Table({{""}}));
    return;
  }
  nlohmann::json& only = records_.front();
  only.erase("id");
  only.erase("variant");
  EmitOne(OutputFormat::kJson, only, Table({{""}}));
}

absl::Status GenerateRun::RunRequest(absl::Span<const InputRow> rows) {
  const v1::GenerateRequest request = RequestFor(rows);
  Generations generations({.variants = variant_count(),
                           .inputs = static_cast<int>(rows.size()),
                           .samples = sample_count()});
  GenerationText text(generations, LabelsFor(rows));
  // The colours are known once all is there.
  const bool is_live = is_text() && columns_width_ == 0 && !is_coloured();
  // In a log, what fits into one request needs no progress.
  const bool has_progress = !is_live && (IsTerminal(STDERR_FILENO) ||
                                         rows.size() < plan_.rows.size());
  absl::Status status =
      Stream(request, [&](const v1::GenerateResponse& event) -> absl::Status {
        RETURN_IF_ERROR(generations.Add(event));
        if (is_live) Write(text.Next());
        if (has_progress) ShowProgress(generations);
        return absl::OkStatus();
      });
  if (status.ok() && !generations.is_complete()) {
    status = absl::UnavailableError(
        "the server's answer ended before it was complete; try again");
  }
  if (is_text() && generations.has_begun()) {
    EndText(text);
  } else if (!is_text() && status.ok()) {
    AddRecords(generations, rows);
  }
  prompt_tokens_ += generations.prompt_token_count();
  generated_tokens_ += generations.generated_token_count();
  unused_tokens_ +=
      generations.UnusedTokens(request.options().max_new_token_count());
  return status;
}

absl::Status GenerateRun::Run() {
  absl::Status status;
  if (is_text()) {
    interrupts_.EndProcessDuring([&] { status = PrepareText(); });
  }
  const auto per_request = static_cast<size_t>(
      std::max(kSamplesPerRequest / (sample_count() * variant_count()), 1));
  const absl::Duration start = Clock::Real().Monotonic();
  for (size_t done = 0; status.ok() && done < plan_.rows.size();
       done += per_request) {
    if (is_text() && done > 0) Write("\n");
    status = RunRequest(absl::MakeSpan(plan_.rows).subspan(done, per_request));
  }
  progress_.Finish();
  if (is_text() && generated_tokens_ > 0) {
    const absl::Duration elapsed = Clock::Real().Monotonic() - start;
    progress_.Line(absl::StrFormat("%d prompt and %d generated tokens, %.1f/s",
                                   prompt_tokens_, generated_tokens_,
                                   static_cast<double>(generated_tokens_) /
                                       absl::ToDoubleSeconds(elapsed)));
  }
  if (status.ok() && plan_.format == OutputFormat::kJson) EmitJson();
  return status;
}

}  // namespace dissonance::cli
