// Collects the pages of a List call. Thread safe if the connection is.
//
//   ASSIGN_OR_RETURN(std::vector<v1::Job> jobs,
//                    ListAll<v1::Job>(*connection, &v1::Jobs::Stub::ListJobs,
//                                     request, &v1::ListJobsResponse::jobs,
//                                     limit));
#ifndef DISSONANCE_CLIENT_CLI_PAGES_H_
#define DISSONANCE_CLIENT_CLI_PAGES_H_

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/connection.h"
#include "google/protobuf/repeated_field.h"
#include "src/base/status_macros.h"

namespace dissonance::cli {

// The most that the API gives in one page.
inline constexpr size_t kPageLimit = 1000;

// Up to `limit` entries, in the server's order.
template <typename Entry, typename Stub, typename Request, typename Response>
absl::StatusOr<std::vector<Entry>> ListAll(
    Connection& connection,
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    Request request,
    const google::protobuf::RepeatedPtrField<Entry>& (Response::*entries)()
        const,
    size_t limit = std::numeric_limits<size_t>::max()) {
  std::vector<Entry> all;
  while (all.size() < limit) {
    request.set_page_size(
        static_cast<int>(std::min(limit - all.size(), kPageLimit)));
    ASSIGN_OR_RETURN(const Response page, connection.Call(method, request));
    for (const Entry& entry : (page.*entries)()) {
      if (all.size() < limit) all.push_back(entry);
    }
    if (page.next_page_token().empty()) break;
    request.set_page_token(page.next_page_token());
  }
  return all;
}

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_PAGES_H_
