// A text that must not be seen: a key or a token. It can't be printed by
// accident, and its memory is overwritten at its end. Thread safe to read.
#ifndef DISSONANCE_BASE_SECRET_H_
#define DISSONANCE_BASE_SECRET_H_

#include <string.h>

#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace dissonance {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(const Secret&) = default;
  // A copy, as a move may leave short texts where they were.
  Secret(Secret&& other) noexcept {
    text_ = other.text_;
    other.Wipe();
  }
  Secret& operator=(Secret other) {
    text_.swap(other.text_);
    return *this;
  }
  ~Secret() { Wipe(); }

  bool empty() const { return text_.empty(); }
  // For the one place that sends it.
  const std::string& Reveal() const { return text_; }

 private:
  void Wipe() {
    ::explicit_bzero(text_.data(), text_.size());
    text_.clear();
  }

  std::string text_;
};

}  // namespace dissonance

#endif  // DISSONANCE_BASE_SECRET_H_
