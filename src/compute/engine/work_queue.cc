#include "src/compute/engine/work_queue.h"

#include <chrono>
#include <utility>

#include "absl/algorithm/container.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {

void WorkQueue::Add(std::shared_ptr<EngineWork> work) {
  Works& works = work->is_background() ? background_ : readings_;
  works.push_back(std::move(work));
}

bool WorkQueue::DropCancelled() {
  const absl::Status cancelled =
      absl::CancelledError("nobody waits for it any more");
  return std::erase_if(background_, [&](const auto& work) {
           if (!work->cancelled()) return false;
           work->Finish(cancelled);
           return true;
         }) > 0;
}

bool WorkQueue::RunReading() {
  if (readings_.empty()) return false;
  RunPiece(readings_, readings_.begin());
  return true;
}

bool WorkQueue::RunBackground(Others others, double seconds) {
  const auto next = absl::c_find_if(
      background_, [](const auto& work) { return work->ready(); });
  if (next == background_.end()) return false;
  const bool interactive = others == Others::kInteractive;
  const bool jobs = others == Others::kJobs;
  if (interactive && !interactive_turn_.HeldBack(seconds)) return false;
  if (jobs && !job_turn_.HeldBack(seconds)) return false;
  const auto begin = std::chrono::steady_clock::now();
  RunPiece(background_, next);
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - begin;
  interactive_turn_.Ran(took.count(), interactive);
  job_turn_.Ran(took.count(), jobs);
  return true;
}

void WorkQueue::RunPiece(Works& works, Works::iterator which) {
  const std::shared_ptr<EngineWork> work = std::move(*which);
  works.erase(which);
  bool has_more = false;
  const absl::Status done =
      CatchTorch("computation", [&] { has_more = work->RunPiece(); });
  if (done.ok() && has_more) {
    works.push_back(work);
  } else {
    work->Finish(done);
  }
}

void WorkQueue::FinishAll(const absl::Status& status) {
  for (const Works& works : {readings_, background_}) {
    for (const std::shared_ptr<EngineWork>& work : works) work->Finish(status);
  }
}

}  // namespace dissonance
