#include "server/control/http_exchange.h"

#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "src/base/log.h"
#include "src/base/utf8.h"

namespace dissonance {
namespace {

// The body of a refused request is read up to this size, so that its client is
// done with sending when it gets the answer.
constexpr size_t kSwallowBytes = 1 << 20;
// Of an answer in pieces, handed to the socket at a time.
constexpr size_t kPieceBytes = 16 << 10;

HttpResponse Plain(int code, absl::string_view body) {
  return {.code = code, .body = absl::StrCat(body, "\n")};
}

bool IsRead(absl::string_view method) {
  return method == MHD_HTTP_METHOD_GET || method == MHD_HTTP_METHOD_HEAD;
}

const char* HeaderOf(MHD_Connection* connection, const char* name) {
  return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

// nullopt: not said, or no number.
std::optional<uint64_t> BodyBytes(MHD_Connection* connection) {
  const char* length = HeaderOf(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
  uint64_t bytes = 0;
  if (length == nullptr || !absl::SimpleAtoi(length, &bytes)) {
    return std::nullopt;
  }
  return bytes;
}

bool IsChunked(MHD_Connection* connection) {
  return HeaderOf(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING) != nullptr;
}

bool HasBody(MHD_Connection* connection) {
  return IsChunked(connection) ||
         (HeaderOf(connection, MHD_HTTP_HEADER_CONTENT_LENGTH) != nullptr &&
          BodyBytes(connection) != uint64_t{0});
}

// The route of `path`; null: there is none. `name` becomes what its "*" stands
// for.
template <typename Route>
const Route* FindRoute(const std::map<std::string, Route, std::less<>>& routes,
                       const std::string& path, std::string& name) {
  const bool is_pattern = absl::StrContains(path, '*');
  if (const auto found = routes.find(path);
      found != routes.end() && !is_pattern) {
    return &found->second;
  }
  std::vector<std::string> parts = absl::StrSplit(path, '/');
  for (std::string& part : parts) {
    // No name is empty, or anything but UTF-8.
    if (part.empty() || FindInvalidUtf8(part).has_value()) continue;
    std::string own = std::exchange(part, std::string(1, '*'));
    const auto found = routes.find(absl::StrJoin(parts, "/"));
    part = own;
    if (found == routes.end()) continue;
    name = std::move(own);
    return &found->second;
  }
  return nullptr;
}

bool HasHeader(const HttpResponse& answer, absl::string_view name) {
  return std::any_of(
      answer.headers.begin(), answer.headers.end(),
      [name](const auto& header) { return header.first == name; });
}

// A client that only closed its sending side counts as gone, too: it could not
// be told from one that closed all.
bool IsGone(int fd) {
  pollfd state = {fd, POLLRDHUP, 0};
  return ::poll(&state, 1, /*timeout=*/0) > 0;
}

// While it lives the connection's silence is the server's, not the client's.
class PatientWait {
 public:
  explicit PatientWait(MHD_Connection* connection) : connection_(connection) {
    Set(0);
  }
  ~PatientWait() { Set(HttpServer::kIdleSeconds); }
  PatientWait(const PatientWait&) = delete;
  PatientWait& operator=(const PatientWait&) = delete;

 private:
  void Set(unsigned int seconds) {
    MHD_set_connection_option(connection_, MHD_CONNECTION_OPTION_TIMEOUT,
                              seconds);
  }

  MHD_Connection* const connection_;
};

// An answer that is made while it is sent.
struct Pieces {
  MHD_Connection* connection;
  std::function<std::string()> next;
  std::string piece = {};  // what of it is left
};

ssize_t ReadPieces(void* state, uint64_t /*position*/, char* out, size_t most) {
  auto& pieces = *static_cast<Pieces*>(state);
  if (pieces.piece.empty()) {
    const PatientWait wait(pieces.connection);
    try {
      pieces.piece = pieces.next();
    } catch (const std::exception& e) {
      Log(LogLevel::kError, "an HTTP answer broke off", {{"why", e.what()}});
      return MHD_CONTENT_READER_END_WITH_ERROR;
    }
  }
  if (pieces.piece.empty()) return MHD_CONTENT_READER_END_OF_STREAM;
  const size_t size = std::min(most, pieces.piece.size());
  std::memcpy(out, pieces.piece.data(), size);
  pieces.piece.erase(0, size);
  return static_cast<ssize_t>(size);
}

void DeletePieces(void* state) { delete static_cast<Pieces*>(state); }

MHD_Response* MakeResponse(MHD_Connection* connection, HttpResponse& answer) {
  if (answer.next_piece == nullptr) {
    return MHD_create_response_from_buffer(
        answer.body.size(), answer.body.data(), MHD_RESPMEM_MUST_COPY);
  }
  auto pieces = std::make_unique<Pieces>(
      Pieces{.connection = connection, .next = std::move(answer.next_piece)});
  MHD_Response* response = MHD_create_response_from_callback(
      answer.size_bytes.value_or(MHD_SIZE_UNKNOWN), kPieceBytes, &ReadPieces,
      pieces.get(), &DeletePieces);
  if (response != nullptr) pieces.release();  // NOLINT: the response's now
  return response;
}

}  // namespace

HttpExchange::HttpExchange(HttpServer& server, MHD_Connection* connection,
                           const char* path, const char* method)
    : server_(server), connection_(connection), method_(method) {
  server_.requests_.Add(1);
  request_.path = path;
  if (const char* own = HeaderOf(connection, MHD_HTTP_HEADER_AUTHORIZATION)) {
    request_.authorization = own;
  }
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (info != nullptr) {
    request_.is_gone = [fd = info->connect_fd] { return IsGone(fd); };
  }
  request_.header = [connection](const char* name) {
    const char* value = HeaderOf(connection, name);
    return std::string(value == nullptr ? "" : value);
  };
  const HttpRoutes& routes = server_.routes_;
  get_ = FindRoute(routes.gets, request_.path, request_.name);
  post_ = FindRoute(routes.posts, request_.path, request_.name);
  if (post_ != nullptr) server_.posts_.Add(1);
}

HttpExchange::~HttpExchange() {
  if (post_ != nullptr) server_.posts_.Add(-1);
  server_.requests_.Add(-1);
}

MHD_Result HttpExchange::Begin() {
  refusal_ = Refusal();
  if (!refusal_.has_value()) return MHD_YES;
  const std::optional<uint64_t> bytes = BodyBytes(connection_);
  const bool swallows = post_ != nullptr && !IsChunked(connection_) &&
                        bytes.has_value() && *bytes <= kSwallowBytes;
  return swallows ? MHD_YES : Send(*std::move(refusal_));
}

std::optional<HttpResponse> HttpExchange::Refusal() {
  if (get_ == nullptr && post_ == nullptr) {
    return Plain(404, "there is nothing here");
  }
  const bool posts = method_ == MHD_HTTP_METHOD_POST;
  if (post_ != nullptr && posts) return RefusePost(*post_);
  if (get_ == nullptr || !IsRead(method_)) {
    HttpResponse refusal = get_ == nullptr
                               ? Plain(405, "only POST is answered")
                               : Plain(405, "only GET and HEAD are answered");
    refusal.headers = {
        {MHD_HTTP_HEADER_ALLOW, get_ == nullptr ? "POST" : "GET, HEAD"}};
    return refusal;
  }
  if (HasBody(connection_)) return Plain(413, "a GET has no body");
  return std::nullopt;
}

std::optional<HttpResponse> HttpExchange::RefusePost(const HttpPost& post) {
  if (server_.posts_.count() > HttpServer::kPostLimit) {
    return post.error(
        503, absl::StrCat("there are more than ", HttpServer::kPostLimit,
                          " requests at a time; try again, with fewer"));
  }
  if (auto refusal = post.refuse(request_)) return refusal;
  const std::optional<uint64_t> bytes = BodyBytes(connection_);
  if (!bytes.has_value() || IsChunked(connection_)) {
    return post.error(411, "say with Content-Length how long the body is");
  }
  if (*bytes > post.body_limit_bytes) {
    return post.error(
        413, absl::StrCat("the body has ", *bytes, " bytes; the limit is ",
                          post.body_limit_bytes,
                          " (limits.message_bytes of the server's "
                          "configuration); split the request"));
  }
  return std::nullopt;
}

void HttpExchange::AddBody(absl::string_view piece) {
  if (!refusal_.has_value()) absl::StrAppend(&request_.body, piece);
}

MHD_Result HttpExchange::Answer() {
  if (refusal_.has_value()) return Send(*std::move(refusal_));
  const PatientWait wait(connection_);
  return Send(Handle());
}

HttpResponse HttpExchange::Handle() {
  const bool posts = method_ == MHD_HTTP_METHOD_POST;
  try {
    return posts ? post_->handler(request_) : (*get_)(request_);
  } catch (const std::exception& e) {
    Log(LogLevel::kError, "an HTTP request failed",
        {{"path", request_.path}, {"why", e.what()}});
    return Plain(500, "failed; the server's log says why");
  }
}

MHD_Result HttpExchange::Send(HttpResponse answer) {
  MHD_Response* response = MakeResponse(connection_, answer);
  if (response == nullptr) return MHD_NO;
  const absl::Cleanup destroy = [response] { MHD_destroy_response(response); };
  const auto add = [response](const char* name, const std::string& value) {
    MHD_add_response_header(response, name, value.c_str());
  };
  add(MHD_HTTP_HEADER_CONTENT_TYPE, answer.content_type);
  if (!HasHeader(answer, MHD_HTTP_HEADER_CACHE_CONTROL)) {
    add(MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  }
  add("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : answer.headers) add(name.c_str(), value);
  return MHD_queue_response(connection_, static_cast<unsigned int>(answer.code),
                            response);
}

}  // namespace dissonance
