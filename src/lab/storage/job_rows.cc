#include "src/lab/storage/job_rows.h"

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/message.h"
#include "google/protobuf/util/time_util.h"

namespace dissonance {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::Timestamp;
using google::protobuf::util::TimeUtil;

constexpr char kColumns[] =
    "name, owner, request_id, state, priority, reason, attempt_count,"
    " lost_count, done_count, total_count, unit, rate, create_time,"
    " start_time, end_time, last_event_number, spec_without_data, provenance,"
    " replay_of, code_version, device_seconds, token_count, inputs, queue_time,"
    " place";

Timestamp ToTimestamp(absl::Time time) {
  return TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(time));
}

std::optional<absl::Time> ToTime(bool is_set, const Timestamp& timestamp) {
  if (!is_set) return std::nullopt;
  return absl::FromUnixMicros(TimeUtil::TimestampToMicroseconds(timestamp));
}

void ClearData(Message& message) {
  const Reflection* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->type() == FieldDescriptor::TYPE_BYTES) {
      reflection->ClearField(&message, field);
    } else if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      continue;
    } else if (field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
        ClearData(*reflection->MutableRepeatedMessage(&message, field, i));
      }
    } else {
      ClearData(*reflection->MutableMessage(&message, field));
    }
  }
}

// The repeated field alone, as bytes.
std::string ProvenanceBytes(const v1::Job& job) {
  v1::Job only;
  *only.mutable_provenance() = job.provenance();
  return only.SerializeAsString();
}

std::string InputsBytes(const v1::Job& job) {
  v1::Job only;
  *only.mutable_inputs() = job.inputs();
  return only.SerializeAsString();
}

void ReadDependencies(Connection& connection, v1::Job& job) {
  Query query(connection,
              "SELECT depends_on FROM job_dependencies WHERE job = ?"
              " ORDER BY depends_on",
              job.name());
  while (query.Next()) job.add_depends_on(query.Text(0));
}

void ReadInputs(Connection& connection, v1::Job& job) {
  Query query(connection,
              "SELECT spec, config_toml FROM job_inputs WHERE job = ?",
              job.name());
  if (!query.Next()) return;
  job.mutable_spec()->ParseFromString(query.Bytes(0));
  job.set_config_toml(query.Text(1));
}

}  // namespace

std::string ListJobsSql(bool by_owner, bool by_state) {
  return absl::StrCat("SELECT ", kColumns, " FROM jobs WHERE ",
                      by_owner ? "owner = ? AND " : "",
                      by_state ? "state = ? AND " : "",
                      "name < ? ORDER BY name DESC LIMIT ?");
}

v1::JobSpec JobStore::SpecWithoutData(const v1::JobSpec& spec) {
  v1::JobSpec out = spec;
  ClearData(out);
  return out;
}

StoredJob JobOfRow(const Query& query) {
  StoredJob stored;
  stored.owner = query.Text(1);
  stored.lost_count = query.Int32(7);
  v1::Job& job = stored.job;
  job.set_name(query.Text(0));
  job.set_request_id(query.Text(2));
  job.set_state(static_cast<v1::JobState>(query.Int(3)));
  job.set_priority(static_cast<v1::JobPriority>(query.Int(4)));
  job.set_reason(query.Text(5));
  job.set_attempt_count(query.Int32(6));
  v1::Progress& progress = *job.mutable_progress();
  progress.set_done_count(query.Int(8));
  progress.set_total_count(query.Int(9));
  progress.set_unit(query.Text(10));
  progress.set_rate(query.Real(11));
  *job.mutable_create_time() = ToTimestamp(*query.Time(12));
  if (const auto start = query.Time(13)) {
    *job.mutable_start_time() = ToTimestamp(*start);
  }
  if (const auto end = query.Time(14)) {
    *job.mutable_end_time() = ToTimestamp(*end);
  }
  job.set_last_event_number(query.Int(15));
  job.mutable_spec()->ParseFromString(query.Bytes(16));
  job.MergeFromString(query.Bytes(17));
  job.set_replay_of(query.Text(18));
  job.set_code_version(query.Text(19));
  job.mutable_usage()->set_device_seconds(query.Real(20));
  job.mutable_usage()->set_token_count(query.Int(21));
  job.MergeFromString(query.Bytes(22));
  stored.queue_time = *query.Time(23);
  stored.place = static_cast<JobPlace>(query.Int(24));
  job.set_owner(NameOfUser(stored.owner));
  job.set_retry_count(stored.lost_count);
  return stored;
}

absl::StatusOr<StoredJob> ReadJob(Connection& connection,
                                  absl::string_view name, JobStore::Spec spec) {
  static const std::string sql =
      absl::StrCat("SELECT ", kColumns, " FROM jobs WHERE name = ?");
  Query query(connection, sql, name);
  if (!query.Next()) return JobStore::NoSuchJob(name);
  StoredJob stored = JobOfRow(query);
  ReadOutputs(connection, stored.job);
  ReadDependencies(connection, stored.job);
  if (spec == JobStore::Spec::kFull) ReadInputs(connection, stored.job);
  return stored;
}

void ReadOutputs(Connection& connection, v1::Job& job) {
  Query query(connection,
              "SELECT file_name, artifact, size_bytes, names_run"
              " FROM job_outputs"
              " WHERE job = ? ORDER BY file_name",
              job.name());
  job.clear_outputs();
  while (query.Next()) {
    v1::JobOutput& output = *job.add_outputs();
    output.set_file_name(query.Text(0));
    output.set_artifact(query.Text(1));
    output.set_size_bytes(query.Int(2));
    output.set_names_run(query.Int(3) != 0);
  }
}

void InsertJob(Connection& connection, const StoredJob& stored) {
  static const std::string sql = absl::StrCat(
      "INSERT INTO jobs (", kColumns,
      ") VALUES (?, ?, nullif(?, ''), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
      " ?, ?, ?, ?, ?, ?, ?, ?)");
  const v1::Job& job = stored.job;
  const std::string light =
      JobStore::SpecWithoutData(job.spec()).SerializeAsString();
  const std::string provenance = ProvenanceBytes(job);
  const std::string inputs = InputsBytes(job);
  Query(connection, sql, job.name(), stored.owner, job.request_id(),
        int32_t{job.state()}, int32_t{job.priority()}, job.reason(),
        job.attempt_count(), stored.lost_count, job.progress().done_count(),
        job.progress().total_count(), job.progress().unit(),
        job.progress().rate(), ToTime(true, job.create_time()),
        ToTime(job.has_start_time(), job.start_time()),
        ToTime(job.has_end_time(), job.end_time()), job.last_event_number(),
        Blob{light}, Blob{provenance}, job.replay_of(), job.code_version(),
        job.usage().device_seconds(), job.usage().token_count(), Blob{inputs},
        ToTime(true, job.create_time()), static_cast<int32_t>(stored.place))
      .Run();
  const std::string spec = job.spec().SerializeAsString();
  Query(connection,
        "INSERT INTO job_inputs (job, spec, config_toml) VALUES (?, ?, ?)",
        job.name(), Blob{spec}, job.config_toml())
      .Run();
  for (const std::string& other : job.depends_on()) {
    Query(connection,
          "INSERT INTO job_dependencies (job, depends_on) VALUES (?, ?)"
          " ON CONFLICT DO NOTHING",
          job.name(), other)
        .Run();
  }
}

void UpdateJob(Connection& connection, const StoredJob& stored) {
  const v1::Job& job = stored.job;
  const std::string provenance = ProvenanceBytes(job);
  Query(connection,
        "UPDATE jobs SET state = ?, reason = ?, attempt_count = ?,"
        " lost_count = ?, done_count = ?, total_count = ?, unit = ?, rate = ?,"
        " start_time = ?, end_time = ?, last_event_number = ?, provenance = ?,"
        " code_version = ?, device_seconds = ?, token_count = ?, queue_time = ?"
        " WHERE name = ?",
        int32_t{job.state()}, job.reason(), job.attempt_count(),
        stored.lost_count, job.progress().done_count(),
        job.progress().total_count(), job.progress().unit(),
        job.progress().rate(), ToTime(job.has_start_time(), job.start_time()),
        ToTime(job.has_end_time(), job.end_time()), job.last_event_number(),
        Blob{provenance}, job.code_version(), job.usage().device_seconds(),
        job.usage().token_count(), std::optional(stored.queue_time), job.name())
      .Run();
}

void InsertEvent(Connection& connection, absl::string_view name,
                 const v1::JobEvent& event) {
  const std::string bytes = event.SerializeAsString();
  Query(connection,
        "INSERT INTO job_events (job, number, event) VALUES (?, ?, ?)", name,
        event.number(), Blob{bytes})
      .Run();
}

}  // namespace dissonance
