#include "src/base/sha256.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "src/base/file.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

// From FIPS 180-2, appendix B, and the digest of nothing.
constexpr char kEmpty[] =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kAbc[] =
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kMillionA[] =
    "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256Test, GivesTheKnownVectors) {
  EXPECT_EQ(Sha256Of(""), kEmpty);
  EXPECT_EQ(Sha256Of("abc"), kAbc);
  EXPECT_EQ(Sha256Of(std::string(1'000'000, 'a')), kMillionA);
}

TEST(Sha256Test, PiecesEqualTheWhole) {
  Sha256 digest;
  for (const char* piece : {"a", "", "bc"}) digest.Update(piece);
  EXPECT_EQ(digest.Finish(), kAbc);
}

TEST(Sha256Test, FramedUpdatesTellPiecesApart) {
  Sha256 one;
  one.UpdateFramed("ab");
  one.UpdateFramed("c");
  Sha256 other;
  other.UpdateFramed("a");
  other.UpdateFramed("bc");
  EXPECT_NE(one.Finish(), other.Finish());
}

TEST(Sha256Test, MovedDigestGoesOn) {
  Sha256 first;
  first.Update("a");
  Sha256 second = std::move(first);
  second.Update("bc");
  EXPECT_EQ(second.Finish(), kAbc);
}

TEST(Sha256Test, FileEqualsItsContents) {
  TempFolder folder;
  const std::string contents((3 << 20) + 1, 'x');
  ASSERT_TRUE(WriteFileAtomically(folder.File("x"), contents).ok());
  EXPECT_EQ(Sha256OfFile(folder.File("x")).value(), Sha256Of(contents));
  EXPECT_EQ(Sha256OfFile(folder.File("none")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(Sha256OfFile(folder.path()).ok());
}

}  // namespace
}  // namespace dissonance
