#include "server/control/dashboard_streams.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "dissonance/v1/artifacts.grpc.pb.h"
#include "dissonance/v1/jobs.grpc.pb.h"
#include "server/control/dashboard_answer.h"
#include "server/control/local_stream.h"
#include "src/base/clock.h"
#include "src/base/status_macros.h"

namespace dissonance {
namespace {

constexpr char kEventStream[] = "text/event-stream";
constexpr char kListJobs[] = "/dissonance.v1.Jobs/ListJobs";
constexpr char kWatchJob[] = "/dissonance.v1.Jobs/WatchJob";
constexpr char kReadArtifact[] = "/dissonance.v1.Artifacts/ReadArtifact";
constexpr char kGetArtifact[] = "/dissonance.v1.Artifacts/GetArtifact";

// How often it is looked what changed.
constexpr absl::Duration kTick = absl::Seconds(1);

HttpResponse Events(std::function<std::string()> next_piece) {
  return {.content_type = kEventStream, .next_piece = std::move(next_piece)};
}

class OverviewStream {
 public:
  OverviewStream(const DashboardParts& parts, const HttpRequest& http)
      : parts_(parts),
        is_gone_(http.is_gone),
        overview_(parts, http.authorization) {}

  // The first events; an error is a refusal.
  absl::Status Begin() {
    ASSIGN_OR_RETURN(const auto changes, overview_.Changes());
    first_ = Text(changes);
    return absl::OkStatus();
  }
  const std::string& user() const { return overview_.user(); }
  void Keep(StreamSeats::Seat seat) { seat_ = std::move(seat); }

  std::string NextPiece() {
    if (!first_.empty()) return std::exchange(first_, "");
    while (!has_ended_ && AwaitTick()) {
      const auto changes = overview_.Changes();
      if (!changes.ok()) return End(changes.status());
      if (!changes->empty()) return Text(*changes);
    }
    if (has_ended_ || is_gone_()) return "";
    return End(absl::UnavailableError(
        "the server is stopping; come again when it has been started again"));
  }

 private:
  static std::string Text(const std::vector<Overview::Part>& changes) {
    std::string text;
    for (const auto& [part, body] : changes) {
      absl::StrAppend(&text, ServerSentEvent(part, body));
    }
    return text;
  }
  std::string End(const absl::Status& why) {
    has_ended_ = true;
    return ServerSentError(why);
  }
  // False once there is nobody to tell, or the server drains.
  bool AwaitTick() {
    const absl::Duration end = Clock::Real().Monotonic() + kTick;
    while (!is_gone_() && !parts_.gate.draining()) {
      if (Clock::Real().Monotonic() >= end) return true;
      absl::SleepFor(kGonePoll);
    }
    return false;
  }

  const DashboardParts parts_;
  const std::function<bool()> is_gone_;
  Overview overview_;
  StreamSeats::Seat seat_;
  std::string first_;
  bool has_ended_ = false;
};

class JobEvents {
 public:
  JobEvents(const HttpRequest& http, StreamSeats::Seat seat)
      : seat_(std::move(seat)), stream_(http) {
    request_.set_name(absl::StrCat("jobs/", http.name));
  }

  absl::Status Begin(LocalCalls& calls, int64_t after) {
    request_.set_after_event_number(after);
    RETURN_IF_ERROR(stream_.Start(
        calls, [this](const std::shared_ptr<grpc::Channel>& channel,
                      grpc::ClientContext* context, auto* reactor) {
          stub_ = v1::Jobs::NewStub(channel);
          stub_->async()->WatchJob(context, &request_, reactor);
        }));
    return absl::OkStatus();
  }

  std::string NextPiece() {
    if (has_ended_) return "";
    if (!stream_.Next()) {
      has_ended_ = true;
      return stream_.end().ok() ? "" : ServerSentError(stream_.end());
    }
    const v1::WatchJobResponse& message = stream_.message();
    if (message.has_job()) {
      return ServerSentEvent("job", JobJson(message.job(), kWhole));
    }
    return ServerSentEvent("event", MessageJson(message.event()),
                           message.event().number());
  }

 private:
  const StreamSeats::Seat seat_;
  v1::WatchJobRequest request_;
  std::unique_ptr<v1::Jobs::Stub> stub_;
  LocalStream<v1::WatchJobResponse> stream_;
  bool has_ended_ = false;
};

class ArtifactBytes {
 public:
  ArtifactBytes(const HttpRequest& http, StreamSeats::Seat seat)
      : seat_(std::move(seat)), stream_(http) {
    request_.set_name(absl::StrCat("artifacts/", http.name));
  }

  absl::Status Begin(LocalCalls& calls) {
    return stream_.Start(
        calls, [this](const std::shared_ptr<grpc::Channel>& channel,
                      grpc::ClientContext* context, auto* reactor) {
          stub_ = v1::Artifacts::NewStub(channel);
          stub_->async()->ReadArtifact(context, &request_, reactor);
        });
  }

  // The server closes the connection where bytes are missing at the end.
  std::string NextPiece() {
    while (stream_.Next()) {
      if (!stream_.message().data().empty()) return stream_.message().data();
    }
    return "";
  }

 private:
  const StreamSeats::Seat seat_;
  v1::ReadArtifactRequest request_;
  std::unique_ptr<v1::Artifacts::Stub> stub_;
  LocalStream<v1::ReadArtifactResponse> stream_;
};

}  // namespace

absl::StatusOr<StreamSeats::Seat> DashboardStreams::SeatOf(
    const HttpRequest& http) {
  v1::ServerInfoResponse info;
  RETURN_IF_ERROR(parts_.calls.Watch("/dissonance.v1.Admin/ServerInfo",
                                     http.authorization,
                                     v1::ServerInfoRequest(), info));
  return seats_.Take(info.caller().user());
}

absl::StatusOr<HttpResponse> DashboardStreams::Overview(
    const HttpRequest& http) {
  RETURN_IF_ERROR(parts_.gate.Check(kListJobs, http.authorization));
  const auto stream = std::make_shared<OverviewStream>(parts_, http);
  RETURN_IF_ERROR(stream->Begin());
  ASSIGN_OR_RETURN(StreamSeats::Seat seat, seats_.Take(stream->user()));
  stream->Keep(std::move(seat));
  return Events([stream] { return stream->NextPiece(); });
}

absl::StatusOr<HttpResponse> DashboardStreams::Job(const HttpRequest& http) {
  RETURN_IF_ERROR(parts_.gate.Check(kWatchJob, http.authorization));
  const std::string last = http.header("Last-Event-ID");
  int64_t after = 0;
  if (!last.empty() && (!absl::SimpleAtoi(last, &after) || after < 0)) {
    return absl::InvalidArgumentError(
        "Last-Event-ID: give the number of the last event that was received");
  }
  // A refusal is an answer of its own, not an event.
  v1::GetJobRequest request;
  request.set_name(absl::StrCat("jobs/", http.name));
  v1::GetJobResponse job;
  RETURN_IF_ERROR(parts_.calls.Watch("/dissonance.v1.Jobs/GetJob",
                                     http.authorization, request, job));
  ASSIGN_OR_RETURN(StreamSeats::Seat seat, SeatOf(http));
  const auto stream = std::make_shared<JobEvents>(http, std::move(seat));
  RETURN_IF_ERROR(stream->Begin(parts_.calls, after));
  return Events([stream] { return stream->NextPiece(); });
}

absl::StatusOr<HttpResponse> DashboardStreams::Artifact(
    const HttpRequest& http) {
  RETURN_IF_ERROR(parts_.gate.Check(kReadArtifact, http.authorization));
  v1::GetArtifactRequest request;
  request.set_name(absl::StrCat("artifacts/", http.name));
  v1::GetArtifactResponse found;
  RETURN_IF_ERROR(
      parts_.calls.Call(kGetArtifact, http.authorization, request, found));
  ASSIGN_OR_RETURN(StreamSeats::Seat seat, SeatOf(http));
  const auto bytes = std::make_shared<ArtifactBytes>(http, std::move(seat));
  RETURN_IF_ERROR(bytes->Begin(parts_.calls));
  return HttpResponse{
      .content_type = "application/octet-stream",
      .headers = {{"Content-Disposition", "attachment"}},
      .next_piece = [bytes] { return bytes->NextPiece(); },
      .size_bytes = static_cast<uint64_t>(found.artifact().size_bytes())};
}

}  // namespace dissonance
