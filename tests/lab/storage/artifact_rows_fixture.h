// Rows that name artifacts, for tests of what they keep.
#ifndef DISSONANCE_TESTS_LAB_STORAGE_ARTIFACT_ROWS_FIXTURE_H_
#define DISSONANCE_TESTS_LAB_STORAGE_ARTIFACT_ROWS_FIXTURE_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "src/lab/storage/connection.h"
#include "src/lab/storage/database.h"
#include "src/lab/storage/job_store.h"
#include "src/lab/storage/model_store.h"

namespace dissonance {

// A job of the user's.
inline void AddJob(Database& database, const std::string& name,
                   const std::string& user) {
  StoredJob stored;
  stored.owner = user;
  stored.job.set_name(name);
  stored.job.set_state(v1::JOB_STATE_QUEUED);
  stored.job.set_priority(v1::JOB_PRIORITY_NORMAL);
  const auto created = JobStore(database).Create(stored);
  ASSERT_TRUE(created.ok()) << created.status();
}

// The job's output, or, in job_artifacts, what its spec names.
inline void NameArtifact(Database& database, const std::string& job,
                         const std::string& artifact, bool is_output) {
  const absl::Status status = database.Write([&](Connection& connection) {
    if (is_output) {
      Query(connection,
            "INSERT INTO job_outputs (job, file_name, artifact, size_bytes)"
            " VALUES (?, 'report.json', ?, 1)",
            job, artifact)
          .Run();
    } else {
      Query(connection,
            "INSERT INTO job_artifacts (job, artifact) VALUES (?, ?)", job,
            artifact)
          .Run();
    }
    return absl::OkStatus();
  });
  ASSERT_TRUE(status.ok()) << status;
}

// models/m/adapters/a of the user's, made of the two artifacts.
inline void AddAdapter(Database& database, const std::string& user,
                       const std::string& config, const std::string& weights) {
  ModelStore models(database);
  StoredModel model;
  model.model.set_name("models/m");
  ASSERT_TRUE(models.PutModel(model).ok());
  StoredAdapter adapter;
  adapter.adapter.set_name("models/m/adapters/a");
  adapter.adapter.set_owner(absl::StrCat("users/", user));
  adapter.adapter.mutable_artifacts()->set_config(config);
  adapter.adapter.mutable_artifacts()->set_weights(weights);
  const absl::Status status = models.PutAdapter(adapter);
  ASSERT_TRUE(status.ok()) << status;
}

// What the database says that the user's artifacts take.
inline int64_t ArtifactBytes(Database& database, absl::string_view user) {
  int64_t bytes = -1;
  const absl::Status status = database.Read([&](Connection& connection) {
    Query query(connection, "SELECT artifact_bytes FROM users WHERE name = ?",
                user);
    if (query.Next()) bytes = query.Int(0);
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return bytes;
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_LAB_STORAGE_ARTIFACT_ROWS_FIXTURE_H_
