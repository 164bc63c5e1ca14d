#include "server/worker/train_call.h"

#include <fstream>
#include <optional>
#include <utility>

#include "server/worker/scratch_path.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/safetensors.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

using internal::v1::TrainRequest;
using internal::v1::TrainResponse;

constexpr int64_t kChunkBytes = 1 << 20;

absl::Status CallerGone() {
  return absl::CancelledError("the caller went away or its deadline passed");
}

}  // namespace

// Sends files in chunks, each made when the one before is written, so that they
// take no memory. Keeps itself alive by what is queued.
class TrainCall::FileSender : public std::enable_shared_from_this<FileSender> {
 public:
  FileSender(TrainCall& call, std::vector<SnapshotFile> files,
             std::function<void()> sent)
      : call_(call), files_(std::move(files)), sent_(std::move(sent)) {}

  // Queues the next chunk.
  void Queue() {
    call_.Send(kChunkBytes, [self = shared_from_this()](TrainResponse& to) {
      self->Fill(*to.mutable_chunk());
    });
  }

 private:
  void Fill(internal::v1::SnapshotChunk& chunk) {
    SnapshotFile& file = files_[next_];
    // Also of an empty chunk, which is on its way already.
    chunk.set_file(file.file);
    if (!scratch_.has_value()) {
      const absl::Status written = Write(file);
      if (!written.ok()) {
        // The training ends with it; no other chunk is sent.
        call_.run()->Fail(Annotate(written, "writing a snapshot"));
        return;
      }
    }
    std::string& data = *chunk.mutable_data();
    data.resize(kChunkBytes);
    reader_.read(data.data(), kChunkBytes);
    data.resize(static_cast<size_t>(reader_.gcount()));
    chunk.set_last(reader_.peek() == std::ifstream::traits_type::eof());
    if (chunk.last()) {
      reader_ = {};
      scratch_.reset();
      ++next_;
    }
    if (next_ < files_.size()) {
      Queue();
    } else {
      sent_();
    }
  }

  absl::Status Write(SnapshotFile& file) {
    scratch_.emplace(call_.scratch_folder_);
    RETURN_IF_ERROR(CatchTorch("copying weights", [&] {
      return WriteSafetensors(scratch_->path(), file.tensors, file.metadata);
    }));
    file.tensors.clear();
    reader_.open(scratch_->path(), std::ios::binary);
    return absl::OkStatus();
  }

  TrainCall& call_;
  std::vector<SnapshotFile> files_;
  const std::function<void()> sent_;
  size_t next_ = 0;
  std::optional<ScratchPath> scratch_;  // of the file being sent
  std::ifstream reader_;
};

TrainCall::TrainCall(const TrainContext& context, TrainingBudget& budget,
                     const std::string& scratch_folder)
    : StreamCall(context.engine),
      context_(context),
      budget_(budget),
      scratch_folder_(scratch_folder),
      intake_(context.registry, context.engine.options(), scratch_folder) {}

void TrainCall::Start() { StartRead(&request_); }

std::shared_ptr<TrainRun> TrainCall::run() const {
  const absl::MutexLock lock(&run_mutex_);
  return run_;
}

void TrainCall::OnReadDone(bool ok) {
  const std::shared_ptr<TrainRun> running = run();
  absl::Status status;
  bool goes_on = true;
  if (!ok) {
    if (running != nullptr) {
      running->CallerClosed();
      return;
    }
    status = is_cancelled_ ? CallerGone()
                           : absl::InvalidArgumentError(
                                 "Train: expected start, found the end of the "
                                 "caller's messages");
  } else {
    status =
        CatchTorch("a training's beginning", [&] { return Take(goes_on); });
  }
  if (status.ok()) {
    if (goes_on) StartRead(&request_);
    return;
  }
  // It may have begun just now.
  if (const std::shared_ptr<TrainRun> begun = run()) {
    begun->Fail(status);
  } else {
    End(status);
  }
}

absl::Status TrainCall::Take(bool& goes_on) {
  if (const std::shared_ptr<TrainRun> running = run()) {
    switch (request_.message_case()) {
      case TrainRequest::kGoOn:
        return running->GoOn();
      case TrainRequest::kStop:
        running->Stop();
        return absl::OkStatus();
      default:
        return absl::InvalidArgumentError(
            "Train: expected go_on or stop after start");
    }
  }
  RETURN_IF_ERROR(
      intake_.Take(request_, [this]() -> bool { return is_cancelled_; }));
  return intake_.is_complete() ? Begin(goes_on) : absl::OkStatus();
}

absl::Status TrainCall::Begin(bool& goes_on) {
  ASSIGN_OR_RETURN(PreparedTraining training, intake_.Prepare(budget_));
  TrainResponse message;
  *message.mutable_plan() = training.plan;
  if (training.begin.plan_only()) {
    goes_on = false;
    training = {};
    Send(std::move(message));
    End(absl::OkStatus());
    return absl::OkStatus();
  }
  auto begun = std::make_shared<TrainRun>(std::move(training), context_, *this);
  if (intake_.is_stopped()) begun->Stop();
  {
    const absl::MutexLock lock(&run_mutex_);
    run_ = begun;
    if (is_cancelled_) begun->Fail(CallerGone());
  }
  Send(std::move(message));
  const absl::Status submitted = context_.engine.SubmitWork(begun);
  if (!submitted.ok()) begun->Finish(submitted);
  return absl::OkStatus();
}

void TrainCall::OnCancel() {
  const absl::MutexLock lock(&run_mutex_);
  is_cancelled_ = true;
  if (run_ != nullptr) run_->Fail(CallerGone());
}

void TrainCall::Report(TrainResponse message) { Send(std::move(message)); }

void TrainCall::ReportWithFiles(internal::v1::TrainingSnapshot snapshot,
                                std::vector<SnapshotFile> files,
                                std::function<void()> sent) {
  auto sender =
      std::make_shared<FileSender>(*this, std::move(files), std::move(sent));
  // The files are queued from within, so that another thread than the engine's
  // writes them.
  Send(static_cast<int64_t>(snapshot.ByteSizeLong()),
       [sender, own = std::move(snapshot)](TrainResponse& to) {
         *to.mutable_snapshot() = own;
         sender->Queue();
       });
}

void TrainCall::Conclude(const absl::Status& status) { End(status); }

}  // namespace dissonance
