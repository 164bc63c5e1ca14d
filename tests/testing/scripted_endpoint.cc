#include "tests/testing/scripted_endpoint.h"

#include <gtest/gtest.h>
#include <microhttpd.h>
#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace dissonance {
namespace {

using Fault = ScriptedAnswer::Fault;

struct Pending {
  std::string body;
};

// A body that ends, or stops, in its middle.
struct Part {
  std::string bytes;
  size_t whole = 0;
  bool stalls = false;
  absl::Notification* released = nullptr;

  static ssize_t Read(void* self, uint64_t from, char* to, size_t most) {
    auto* part = static_cast<Part*>(self);
    if (from < part->bytes.size()) {
      const size_t count =
          std::min(most, part->bytes.size() - static_cast<size_t>(from));
      part->bytes.copy(to, count, static_cast<size_t>(from));
      return static_cast<ssize_t>(count);
    }
    if (part->stalls) part->released->WaitForNotification();
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
  static void Free(void* self) { delete static_cast<Part*>(self); }
};

MHD_Result AddHeader(void* headers, MHD_ValueKind, const char* name,
                     const char* value) {
  (*static_cast<std::map<std::string, std::string>*>(
      headers))[absl::AsciiStrToLower(name)] = value == nullptr ? "" : value;
  return MHD_YES;
}

}  // namespace

std::string ScriptedRequest::Prompt() const {
  return json.at("messages").back().at("content").get<std::string>();
}

ScriptedAnswer ScriptedAnswer::Says(absl::string_view text) {
  const nlohmann::json body = {
      {"model", "scripted"},
      {"choices",
       {{{"index", 0},
         {"finish_reason", "stop"},
         {"message",
          {{"role", "assistant"}, {"content", std::string(text)}}}}}},
      {"usage",
       {{"prompt_tokens", 7},
        {"completion_tokens", static_cast<int64_t>(text.size())},
        {"total_tokens", 7 + static_cast<int64_t>(text.size())}}}};
  return {.body = body.dump()};
}

ScriptedAnswer ScriptedAnswer::Refuses(int code, absl::string_view message) {
  const nlohmann::json body = {{"error", {{"message", std::string(message)}}}};
  return {.code = code, .body = body.dump()};
}

class ScriptedEndpoint::Server {
 public:
  Server(Script script, const Tls& tls)
      : script_(std::move(script)), tls_(tls) {
    unsigned int flags = MHD_USE_THREAD_PER_CONNECTION |
                         MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC;
    std::vector<MHD_OptionItem> options;
    if (!tls_.key.empty()) {
      flags |= MHD_USE_TLS;
      options.push_back({MHD_OPTION_HTTPS_MEM_KEY, 0, tls_.key.data()});
      options.push_back(
          {MHD_OPTION_HTTPS_MEM_CERT, 0, tls_.certificate.data()});
    }
    options.push_back({MHD_OPTION_END, 0, nullptr});
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    daemon_ =
        MHD_start_daemon(flags, 0, nullptr, nullptr, &Server::OnRequest, this,
                         MHD_OPTION_SOCK_ADDR, &address,
                         MHD_OPTION_NOTIFY_COMPLETED, &Server::OnEnd, nullptr,
                         MHD_OPTION_ARRAY, options.data(), MHD_OPTION_END);
    EXPECT_NE(daemon_, nullptr);
    const MHD_DaemonInfo* info =
        MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_BIND_PORT);
    port_ = info == nullptr ? 0 : info->port;
  }
  ~Server() {
    Release();
    if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
  }

  void Release() {
    const absl::MutexLock lock(&mutex_);
    if (!released_.HasBeenNotified()) released_.Notify();
  }
  bool is_tls() const { return !tls_.key.empty(); }
  int port() const { return port_; }
  std::vector<ScriptedRequest> requests() const {
    const absl::MutexLock lock(&mutex_);
    return requests_;
  }
  int64_t most_at_once() const {
    const absl::MutexLock lock(&mutex_);
    return most_at_once_;
  }

 private:
  static MHD_Result OnRequest(void* self, MHD_Connection* connection,
                              const char* path, const char* /*method*/,
                              const char* /*version*/, const char* upload,
                              size_t* upload_size, void** state) {
    if (*state == nullptr) {
      *state = new Pending;
      return MHD_YES;
    }
    auto* pending = static_cast<Pending*>(*state);
    if (*upload_size > 0) {
      pending->body.append(upload, *upload_size);
      *upload_size = 0;
      return MHD_YES;
    }
    ScriptedRequest request;
    request.path = path;
    request.body = pending->body;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &AddHeader,
                              &request.headers);
    return static_cast<Server*>(self)->Answer(connection, std::move(request));
  }
  static void OnEnd(void*, MHD_Connection*, void** state,
                    MHD_RequestTerminationCode) {
    delete static_cast<Pending*>(*state);
  }

  MHD_Result Answer(MHD_Connection* connection, ScriptedRequest request) {
    request.json = nlohmann::json::parse(request.body, nullptr, false);
    {
      const absl::MutexLock lock(&mutex_);
      request.number = static_cast<int64_t>(requests_.size());
      requests_.push_back(request);
      most_at_once_ = std::max(most_at_once_, ++at_once_);
    }
    const absl::Cleanup ended = [this] {
      const absl::MutexLock lock(&mutex_);
      --at_once_;
    };
    const ScriptedAnswer answer = script_(request);
    if (answer.fault == Fault::kHang) released_.WaitForNotification();
    if (answer.fault == Fault::kHang || answer.fault == Fault::kNothing) {
      return MHD_NO;
    }
    return Send(connection, answer);
  }

  MHD_Result Send(MHD_Connection* connection, const ScriptedAnswer& answer) {
    MHD_Response* response = nullptr;
    if (answer.fault == Fault::kNone) {
      response = MHD_create_response_from_buffer(
          answer.body.size(), const_cast<char*>(answer.body.data()),
          MHD_RESPMEM_MUST_COPY);
    } else {
      const size_t whole = answer.body.size();
      auto* part = new Part{.bytes = answer.body.substr(0, whole / 2),
                            .whole = whole,
                            .stalls = answer.fault == Fault::kStall,
                            .released = &released_};
      response = MHD_create_response_from_callback(whole, 4096, &Part::Read,
                                                   part, &Part::Free);
    }
    for (const auto& [name, value] : answer.headers) {
      MHD_add_response_header(response, name.c_str(), value.c_str());
    }
    const MHD_Result sent = MHD_queue_response(
        connection, static_cast<unsigned int>(answer.code), response);
    MHD_destroy_response(response);
    return sent;
  }

  const Script script_;
  Tls tls_;
  absl::Notification released_;
  mutable absl::Mutex mutex_;
  std::vector<ScriptedRequest> requests_ ABSL_GUARDED_BY(mutex_);
  int64_t at_once_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t most_at_once_ ABSL_GUARDED_BY(mutex_) = 0;
  int port_ = 0;
  MHD_Daemon* daemon_ = nullptr;
};

ScriptedEndpoint::ScriptedEndpoint(Script script, const Tls& tls)
    : server_(std::make_unique<Server>(std::move(script), tls)) {}
ScriptedEndpoint::~ScriptedEndpoint() = default;

std::string ScriptedEndpoint::base_url() const {
  return absl::StrCat(server_->is_tls() ? "https" : "http",
                      "://127.0.0.1:", server_->port(), "/v1");
}

int ScriptedEndpoint::port() const { return server_->port(); }

std::vector<ScriptedRequest> ScriptedEndpoint::requests() const {
  return server_->requests();
}

int64_t ScriptedEndpoint::most_at_once() const {
  return server_->most_at_once();
}

void ScriptedEndpoint::Release() { server_->Release(); }

}  // namespace dissonance
