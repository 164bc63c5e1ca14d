#include "src/base/utf8.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dissonance {
namespace {

TEST(Utf8Test, AcceptsTheEndsOfEveryRange) {
  const std::vector<std::string> valid = {
      "",
      std::string("\0", 1),
      "\x7F",
      "\xC2\x80",
      "\xDF\xBF",
      "\xE0\xA0\x80",
      "\xE0\xBF\xBF",
      "\xED\x80\x80",
      "\xED\x9F\xBF",
      "\xEE\x80\x80",
      "\xEF\xBF\xBF",
      "\xF0\x90\x80\x80",
      "\xF0\xBF\xBF\xBF",
      "\xF3\xBF\xBF\xBF",
      "\xF4\x80\x80\x80",
      "\xF4\x8F\xBF\xBF",
      "a\xC3\xA9\xE5\x90\x8D\xF0\x9F\x98\x80z",
  };
  for (const std::string& text : valid) {
    EXPECT_EQ(FindInvalidUtf8(text), std::nullopt)
        << testing::PrintToString(text);
  }
}

TEST(Utf8Test, FindsTheFirstMalformedByte) {
  const std::vector<std::pair<std::string, size_t>> invalid = {
      {"\x80", 0},                  // continuation without a lead
      {"\xBF", 0},                  //
      {"\xC0\x80", 0},              // overlong forms
      {"\xC1\xBF", 0},              //
      {"\xE0\x9F\xBF", 0},          //
      {"\xF0\x8F\xBF\xBF", 0},      //
      {"\xED\xA0\x80", 0},          // surrogates
      {"\xED\xBF\xBF", 0},          //
      {"\xF4\x90\x80\x80", 0},      // above U+10FFFF
      {"\xF5\x80\x80\x80", 0},      //
      {"\xFE", 0},                  //
      {"\xFF", 0},                  //
      {"ab\xC3", 2},                // cut short
      {"ab\xE5\x90", 2},            //
      {"ab\xF0\x9F\x98", 2},        //
      {"\xC3(", 0},                 // a lead before something else
      {"\xE5(\x8D", 0},             //
      {"\xE5\x90(", 0},             //
      {"\xF0\x9F(\x80", 0},         //
      {"\xC3\xA9\xC3\xA9\xFFz", 4}  // after good ones
  };
  for (const auto& [text, at] : invalid) {
    EXPECT_EQ(FindInvalidUtf8(text), at) << testing::PrintToString(text);
  }
}

TEST(Utf8Test, AcceptsEveryCodePointButSurrogates) {
  for (unsigned int c = 0x80; c <= 0x110000; ++c) {
    std::string text;
    const auto append = [&text](unsigned int byte) {
      text.push_back(static_cast<char>(byte));
    };
    if (c < 0x800) append(0xC0 | c >> 6);
    if (c >= 0x800 && c < 0x10000) append(0xE0 | c >> 12);
    if (c >= 0x10000) append(0xF0 | c >> 18);
    if (c >= 0x10000) append(0x80 | (c >> 12 & 0x3F));
    if (c >= 0x800) append(0x80 | (c >> 6 & 0x3F));
    append(0x80 | (c & 0x3F));
    const bool valid = (c < 0xD800 || c > 0xDFFF) && c <= 0x10FFFF;
    ASSERT_EQ(FindInvalidUtf8(text) == std::nullopt, valid) << c;
  }
}

}  // namespace
}  // namespace dissonance
