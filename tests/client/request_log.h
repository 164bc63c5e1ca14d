// What a fake service was asked, by the type of the request. Thread safe.
//
//   log.Add(*request);
//   EXPECT_EQ(log.Last<v1::DrainRequest>().reason(), "new disks");
#ifndef DISSONANCE_TESTS_CLIENT_REQUEST_LOG_H_
#define DISSONANCE_TESTS_CLIENT_REQUEST_LOG_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/message.h"

namespace dissonance {

class RequestLog {
 public:
  void Add(const google::protobuf::Message& request) {
    absl::MutexLock lock(&mutex_);
    entries_.emplace_back(request.GetDescriptor()->full_name(),
                          request.SerializeAsString());
  }

  // All of a type, in order.
  template <typename Request>
  std::vector<Request> All() {
    absl::MutexLock lock(&mutex_);
    std::vector<Request> out;
    for (const auto& [type, bytes] : entries_) {
      if (type != Request::descriptor()->full_name()) continue;
      out.emplace_back().ParseFromString(bytes);
    }
    return out;
  }

  // The latest of a type; an empty one if there was none.
  template <typename Request>
  Request Last() {
    const std::vector<Request> all = All<Request>();
    return all.empty() ? Request() : all.back();
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::pair<std::string, std::string>> entries_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_REQUEST_LOG_H_
