#include "server/control/dashboard_pages.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/control/dashboard_assets.h"
#include "src/base/sha256.h"

namespace dissonance {
namespace {

constexpr char kPage[] = "index.html";
constexpr char kReportFrame[] = "report_frame.html";

// Everything comes from here and nothing is inline.
constexpr char kPagePolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
// A report is one file with its scripts inside, which its own policy names. It
// runs in an origin of its own, without a token, and can fetch nothing.
constexpr char kReportPolicy[] =
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const char* TypeOf(absl::string_view name) {
  if (absl::EndsWith(name, ".html")) return "text/html; charset=utf-8";
  if (absl::EndsWith(name, ".css")) return "text/css; charset=utf-8";
  if (absl::EndsWith(name, ".svg")) return "image/svg+xml";
  return "text/javascript; charset=utf-8";
}

HttpHandler HandlerOf(const DashboardAsset& asset) {
  const std::string tag = absl::StrCat(
      "\"", absl::StripPrefix(Sha256Of(asset.text), "sha256:"), "\"");
  const char* policy = asset.name == kReportFrame ? kReportPolicy : kPagePolicy;
  return [asset, tag, policy](const HttpRequest& http) {
    HttpResponse answer = {
        .content_type = TypeOf(asset.name),
        .headers = {{"Content-Security-Policy", policy},
                    {"Referrer-Policy", "no-referrer"},
                    {"Cross-Origin-Opener-Policy", "same-origin"},
                    {"Cross-Origin-Resource-Policy", "same-origin"},
                    {"Cache-Control", "no-cache"},
                    {"ETag", tag}}};
    if (http.header("If-None-Match") == tag) {
      answer.code = 304;
    } else {
      answer.body = std::string(asset.text);
    }
    return answer;
  };
}

}  // namespace

std::map<std::string, HttpHandler, std::less<>> DashboardPages() {
  std::map<std::string, HttpHandler, std::less<>> pages;
  for (const DashboardAsset& asset : DashboardAssets()) {
    HttpHandler handler = HandlerOf(asset);
    if (asset.name == kPage) {
      pages["/"] = handler;
      pages["/jobs/*"] = std::move(handler);
    } else if (asset.name == kReportFrame) {
      pages["/report"] = std::move(handler);
    } else {
      pages[absl::StrCat("/dashboard/", asset.name)] = std::move(handler);
    }
  }
  return pages;
}

}  // namespace dissonance
