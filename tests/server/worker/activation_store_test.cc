// Kept answers: what goes in comes out, bounded, least recently used first,
// nothing half-written, and what another process left is taken over.
#include "server/worker/activation_store.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/testing/temp_folder.h"

namespace dissonance {
namespace {

using Message = ActivationStore::Message;

std::string Digest(char c) { return "sha256:" + std::string(64, c); }

Message Chunk(int bytes) {
  Message message;
  message.mutable_chunk()->mutable_tensor()->set_data(
      std::string(static_cast<size_t>(bytes), 'x'));
  return message;
}

Message Cursor(const std::string& cursor) {
  Message message;
  message.set_cursor(cursor);
  return message;
}

std::unique_ptr<ActivationStore> Open(const TempFolder& folder,
                                      int64_t limit_bytes = 1 << 20) {
  auto store = ActivationStore::Open(folder.path() + "/kept", limit_bytes);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

void Keep(ActivationStore& store, const std::string& digest,
          const std::vector<Message>& messages) {
  const auto recording = store.Record(digest);
  for (const Message& message : messages) recording->Add(message);
  recording->Commit();
}

// The cursors of a kept answer's messages; "none" if it is not kept.
std::string Read(ActivationStore& store, const std::string& digest) {
  const auto reader = store.Find(digest);
  if (reader == nullptr) return "none";
  std::string all;
  Message message;
  for (;;) {
    const auto more = reader->Next(message);
    if (!more.ok()) return std::string(more.status().message());
    if (!*more) return all;
    all += message.cursor();
  }
}

TEST(ActivationStoreTest, WhatGoesInComesOut) {
  const TempFolder folder;
  const auto store = Open(folder);
  EXPECT_EQ(Read(*store, Digest('a')), "none");
  Keep(*store, Digest('a'), {Cursor("1"), Chunk(5000), Cursor("2")});
  EXPECT_EQ(Read(*store, Digest('a')), "12");
  EXPECT_EQ(Read(*store, Digest('b')), "none");
  EXPECT_GT(store->bytes(), 5000);
  store->Remove(Digest('a'));
  EXPECT_EQ(Read(*store, Digest('a')), "none");
  EXPECT_EQ(store->bytes(), 0);
}

TEST(ActivationStoreTest, WhatIsNotCommittedLeavesNothing) {
  const TempFolder folder;
  const auto store = Open(folder);
  store->Record(Digest('a'))->Add(Chunk(1000));
  EXPECT_EQ(Read(*store, Digest('a')), "none");
  EXPECT_EQ(store->bytes(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() + "/kept"));
}

TEST(ActivationStoreTest, TheLeastRecentlyUsedGoesFirst) {
  const TempFolder folder;
  const auto store = Open(folder, 3700);
  for (const char c : {'a', 'b', 'c'}) Keep(*store, Digest(c), {Chunk(1000)});
  EXPECT_EQ(Read(*store, Digest('a')), "");
  Keep(*store, Digest('d'), {Chunk(1000)});
  EXPECT_EQ(Read(*store, Digest('a')), "");
  EXPECT_EQ(Read(*store, Digest('b')), "none");
  EXPECT_EQ(Read(*store, Digest('c')), "");
  EXPECT_LE(store->bytes(), 3700);
  // Larger than all there is: not kept. What it has pushed out is gone.
  Keep(*store, Digest('e'), {Chunk(2000), Chunk(2000)});
  EXPECT_EQ(Read(*store, Digest('e')), "none");
  EXPECT_LE(store->bytes(), 3700);
}

TEST(ActivationStoreTest, AReaderOutlivesWhatItReads) {
  const TempFolder folder;
  const auto store = Open(folder);
  Keep(*store, Digest('a'), {Cursor("1"), Chunk(100000), Cursor("2")});
  const auto reader = store->Find(Digest('a'));
  store->Remove(Digest('a'));
  Message message;
  for (const bool expected : {true, true, true, false}) {
    const auto more = reader->Next(message);
    ASSERT_TRUE(more.ok()) << more.status();
    EXPECT_EQ(*more, expected);
  }
}

TEST(ActivationStoreTest, ANewProcessTakesOverAndRemovesWhatWasBeingWritten) {
  const TempFolder folder;
  {
    const auto store = Open(folder);
    for (const char c : {'a', 'b'}) {
      Keep(*store, Digest(c), {Cursor(std::string(1, c)), Chunk(1000)});
    }
  }
  std::ofstream(folder.path() + "/kept/" + std::string(64, 'c') +
                ".messages.0.part")
      << "half";
  const auto store = Open(folder, 2500);
  EXPECT_EQ(Read(*store, Digest('a')), "a");
  EXPECT_EQ(Read(*store, Digest('b')), "b");
  EXPECT_EQ(std::distance(
                std::filesystem::directory_iterator(folder.path() + "/kept"),
                std::filesystem::directory_iterator()),
            2);
  EXPECT_GT(store->bytes(), 2000);
  const auto smaller = Open(folder, 1500);
  EXPECT_LE(smaller->bytes(), 1500);
}

TEST(ActivationStoreTest, ADamagedAnswerIsAnError) {
  const TempFolder folder;
  const auto store = Open(folder);
  Keep(*store, Digest('a'), {Cursor("1"), Chunk(1000)});
  std::filesystem::resize_file(
      folder.path() + "/kept/" + std::string(64, 'a') + ".messages", 500);
  EXPECT_NE(Read(*store, Digest('a')).find("is damaged"), std::string::npos);
}

TEST(ActivationStoreTest, AFlippedBitAndAMissingEndAreDamage) {
  const TempFolder folder;
  const auto store = Open(folder);
  const std::string path =
      folder.path() + "/kept/" + std::string(64, 'a') + ".messages";
  Keep(*store, Digest('a'), {Chunk(1000), Cursor("1")});
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(700);
    file.put('y');
  }
  EXPECT_NE(Read(*store, Digest('a')).find("is damaged"), std::string::npos);
  // The first message, which has 11 bytes around its data, and no more.
  Keep(*store, Digest('a'), {Chunk(1000), Cursor("1")});
  std::filesystem::resize_file(path, 1011);
  EXPECT_NE(Read(*store, Digest('a')).find("is damaged"), std::string::npos);
}

TEST(ActivationStoreTest, WhereNothingCanBeWrittenNothingIsKept) {
  const TempFolder folder;
  const auto store = Open(folder);
  std::filesystem::remove_all(folder.path() + "/kept");
  Keep(*store, Digest('a'), {Chunk(1000)});
  EXPECT_EQ(Read(*store, Digest('a')), "none");
  EXPECT_EQ(store->bytes(), 0);
}

}  // namespace
}  // namespace dissonance
