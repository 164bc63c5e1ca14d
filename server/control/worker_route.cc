#include "server/control/worker_route.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/time/clock.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/control/grpc_status.h"
#include "src/base/call_priority.h"
#include "src/base/steady_wait.h"

namespace dissonance {
namespace {

using google::protobuf::MessageLite;

// How often a caller's cancellation is looked at.
constexpr absl::Duration kCancelPoll = absl::Milliseconds(20);

// The end of a call, waited for by one thread.
class Ending {
 public:
  void Set(const grpc::Status& status) {
    const absl::MutexLock lock(&mutex_);
    status_ = status;
    ended_ = true;
    end_.SignalAll();
  }
  bool Await(absl::Duration timeout) {
    const absl::MutexLock lock(&mutex_);
    if (!ended_) end_.WaitWithTimeout(mutex_, timeout);
    return ended_;
  }
  grpc::Status status() {
    const absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  absl::Mutex mutex_;
  SteadyCondVar end_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

// A model's weights on their way to a device are as much trouble as so many
// calls before one's own.
constexpr int kLoadCost = 4;
// More than there are calls, and more than that.
constexpr int64_t kLackingCost = 1 << 20;
constexpr int64_t kLostCost = int64_t{1} << 40;

}  // namespace

WorkerRoute::WorkerRoute(int worker_count, const Clock& clock) {
  for (int i = 0; i < worker_count; ++i) {
    seats_.push_back(std::make_unique<Seat>(clock));
  }
}

void WorkerRoute::Set(int worker,
                      std::shared_ptr<WorkerConnection> connection) {
  {
    const absl::MutexLock lock(&mutex_);
    Seat& seat = *seats_[static_cast<size_t>(worker)];
    seat.connection.swap(connection);
    seat.resident.reset();
    seat.lacking.clear();
    seat.why_dropped.clear();
  }
  if (connection != nullptr) connection->Cut();
}

void WorkerRoute::Withdraw(int worker) {
  const absl::MutexLock lock(&mutex_);
  seats_[static_cast<size_t>(worker)]->connection.reset();
}

void WorkerRoute::SetResident(int worker, std::set<std::string> models) {
  const absl::MutexLock lock(&mutex_);
  seats_[static_cast<size_t>(worker)]->resident = std::move(models);
}

void WorkerRoute::SetLacking(int worker, std::set<std::string> names) {
  const absl::MutexLock lock(&mutex_);
  seats_[static_cast<size_t>(worker)]->lacking = std::move(names);
}

void WorkerRoute::SetHas(const std::string& name) {
  const absl::MutexLock lock(&mutex_);
  for (const std::unique_ptr<Seat>& seat : seats_) seat->lacking.erase(name);
}

bool WorkerRoute::AnyLacks(const std::string& name) const {
  const absl::MutexLock lock(&mutex_);
  return std::any_of(seats_.begin(), seats_.end(), [&](const auto& seat) {
    return seat->connection != nullptr && seat->lacking.contains(name);
  });
}

bool WorkerRoute::AllLack(const std::string& name) const {
  const absl::MutexLock lock(&mutex_);
  bool any = false;
  for (const std::unique_ptr<Seat>& seat : seats_) {
    if (seat->connection == nullptr) continue;
    if (!seat->lacking.contains(name)) return false;
    any = true;
  }
  return any;
}

void WorkerRoute::Drop(const WorkerChannel& worker, absl::string_view why) {
  std::shared_ptr<WorkerConnection> dropped;
  {
    const absl::MutexLock lock(&mutex_);
    for (const std::unique_ptr<Seat>& seat : seats_) {
      if (seat->connection == nullptr ||
          seat->connection->channel() != worker) {
        continue;
      }
      seat->why_dropped = std::string(why);
      dropped = std::move(seat->connection);
    }
  }
  if (dropped != nullptr) dropped->Cut();
}

std::string WorkerRoute::WhyDropped(int worker) const {
  const absl::MutexLock lock(&mutex_);
  return seats_[static_cast<size_t>(worker)]->why_dropped;
}

int64_t WorkerRoute::CostOf(const Seat& seat, const NamedModels& named) {
  int64_t cost = seat.connection->call_count();
  if (seat.connection->seems_lost()) cost += kLostCost;
  for (const std::set<std::string>* names : {&named.models, &named.adapters}) {
    for (const std::string& name : *names) {
      if (seat.lacking.contains(name)) cost += kLackingCost;
    }
  }
  if (!seat.resident.has_value()) return cost;
  for (const std::string& model : named.models) {
    if (!seat.resident->contains(model)) cost += kLoadCost;
  }
  return cost;
}

WorkerChoice WorkerRoute::For(const NamedModels& named) const {
  const absl::MutexLock lock(&mutex_);
  for (const std::string& adapter : named.adapters) {
    const auto kept = kept_.find(adapter);
    if (kept != kept_.end()) return kept->second;
  }
  WorkerChoice choice = {.meter = &seats_.front()->meter};
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const std::unique_ptr<Seat>& seat : seats_) {
    if (seat->connection == nullptr) continue;
    const int64_t cost = CostOf(*seat, named);
    if (cost >= least) continue;
    least = cost;
    choice = {.channel = seat->connection->channel(), .meter = &seat->meter};
  }
  return choice;
}

WorkerChoice WorkerRoute::For(const google::protobuf::Message& request) const {
  if (seats_.size() == 1) return For(NamedModels());
  const absl::StatusOr<NamedModels> named = ModelsNamedIn(request);
  return For(named.ok() ? *named : NamedModels());
}

std::vector<WorkerChannel> WorkerRoute::Ready() const {
  std::vector<WorkerChannel> ready;
  const absl::MutexLock lock(&mutex_);
  for (const std::unique_ptr<Seat>& seat : seats_) {
    if (seat->connection == nullptr) continue;
    ready.push_back(seat->connection->channel());
  }
  return ready;
}

int WorkerRoute::CallCount(int worker) const {
  const absl::MutexLock lock(&mutex_);
  const Seat& seat = *seats_[static_cast<size_t>(worker)];
  return seat.connection == nullptr ? 0 : seat.connection->call_count();
}

WorkerRoute::KeptAdapter::KeptAdapter(WorkerRoute& route, std::string adapter,
                                      const WorkerChoice& worker)
    : route_(route), adapter_(std::move(adapter)) {
  const absl::MutexLock lock(&route_.mutex_);
  if (!adapter_.empty()) route_.kept_[adapter_] = worker;
}

WorkerRoute::KeptAdapter::~KeptAdapter() {
  const absl::MutexLock lock(&route_.mutex_);
  route_.kept_.erase(adapter_);
}

absl::Status CallWorker(const WorkerChannel& channel, const std::string& method,
                        const MessageLite& request, MessageLite& response,
                        const CallOptions& options, CallPriority priority) {
  if (channel == nullptr) return WorkerUnavailable();
  grpc::ClientContext context;
  if (priority == CallPriority::kJob) {
    context.AddMetadata(kPriorityKey, kJobPriority);
  }
  if (options.timeout != absl::InfiniteDuration()) {
    context.set_deadline(absl::ToChronoTime(absl::Now() + options.timeout));
  }
  Ending ending;
  grpc::TemplatedGenericStub<MessageLite, MessageLite> stub(channel);
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                 [&ending](const grpc::Status& status) { ending.Set(status); });
  const absl::Duration poll =
      options.cancelled ? kCancelPoll : absl::InfiniteDuration();
  bool cancelled = false;
  while (!ending.Await(cancelled ? absl::InfiniteDuration() : poll)) {
    if (!options.cancelled()) continue;
    cancelled = true;
    context.TryCancel();
  }
  if (cancelled) return absl::CancelledError("cancelled");
  return FromGrpc(FromWorker(ending.status()));
}

}  // namespace dissonance
