// A server with the tiny world's model and adapter, shared by a suite's tests.
//
//   class MyTest : public TinyWorldFixture {
//    protected:
//     static void SetUpTestSuite() { StartServer("[worker]\nthreads = 1\n"); }
//   };
#ifndef DISSONANCE_TESTS_SERVER_TINY_WORLD_FIXTURE_H_
#define DISSONANCE_TESTS_SERVER_TINY_WORLD_FIXTURE_H_

#include <gtest/gtest.h>

#include <string>

#include "tests/server/server_fixture.h"
#include "tests/testing/server_process.h"
#include "tests/testing/temp_folder.h"

namespace dissonance {

class TinyWorldFixture : public ::testing::Test {
 protected:
  static void StartServer(const std::string& config) {
    folder_ = new TempFolder;
    server_ =
        new ServerProcess({.data_dir = folder_->path(), .config = config});
    ASSERT_TRUE(server_->AwaitServing());
    ASSERT_TRUE(LoadTinyWorld(*server_).ok());
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0);
    delete server_;
    delete folder_;
  }

  // A test may have ended the worker.
  void SetUp() override { ASSERT_TRUE(server_->AwaitServing()); }

  static inline TempFolder* folder_ = nullptr;
  static inline ServerProcess* server_ = nullptr;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_SERVER_TINY_WORLD_FIXTURE_H_
