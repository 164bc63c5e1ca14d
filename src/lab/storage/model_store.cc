#include "src/lab/storage/model_store.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "src/base/status_macros.h"
#include "src/lab/storage/artifact_index.h"
#include "src/lab/storage/connection.h"

namespace dissonance {
namespace {

constexpr int64_t kNoLimit = -1;

absl::Status NoSuch(absl::string_view name) {
  return absl::NotFoundError(absl::StrCat(name, " is not known here"));
}

StoredModel ModelOfRow(const Query& query) {
  StoredModel stored;
  stored.requested_dtype = static_cast<v1::DType>(query.Int(0));
  stored.resident = query.Int(1) != 0;
  stored.model.ParseFromString(query.Bytes(2));
  return stored;
}

StoredAdapter AdapterOfRow(const Query& query) {
  StoredAdapter stored;
  stored.resident = query.Int(0) != 0;
  stored.adapter.ParseFromString(query.Bytes(1));
  return stored;
}

absl::Status DeleteRow(Connection& connection, absl::string_view sql,
                       absl::string_view name) {
  if (Query(connection, sql, name).Run() == 0) return NoSuch(name);
  return absl::OkStatus();
}

// "models/M" of "models/M/adapters/A".
absl::string_view ModelOf(absl::string_view adapter) {
  return adapter.substr(0, adapter.find("/adapters/"));
}

bool HasModel(Connection& connection, absl::string_view name) {
  Query query(connection, "SELECT 1 FROM models WHERE name = ?", name);
  return query.Next();
}

// What keeps the adapter's artifacts from garbage collection.
absl::Status PutArtifacts(Connection& connection, const v1::Adapter& adapter) {
  Query(connection, "DELETE FROM adapter_artifacts WHERE adapter = ?",
        adapter.name())
      .Run();
  if (!adapter.has_artifacts()) return absl::OkStatus();
  for (const std::string& artifact :
       {adapter.artifacts().config(), adapter.artifacts().weights()}) {
    Query query(connection, "SELECT 1 FROM artifacts WHERE name = ?", artifact);
    if (!query.Next()) return ArtifactIndex::NoSuchArtifact(artifact);
    Query(connection,
          "INSERT INTO adapter_artifacts (adapter, artifact) VALUES (?, ?)"
          " ON CONFLICT DO NOTHING",
          adapter.name(), artifact)
        .Run();
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ModelStore::PutModel(const StoredModel& stored) {
  const std::string bytes = stored.model.SerializeAsString();
  return database_.Write([&](Connection& connection) {
    Query(connection,
          "INSERT INTO models (name, requested_dtype, resident, model)"
          " VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
          " requested_dtype = excluded.requested_dtype,"
          " resident = excluded.resident, model = excluded.model",
          stored.model.name(), int32_t{stored.requested_dtype},
          int32_t{stored.resident}, Blob{bytes})
        .Run();
    return absl::OkStatus();
  });
}

absl::StatusOr<StoredModel> ModelStore::GetModel(absl::string_view name) {
  StoredModel stored;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT requested_dtype, resident, model FROM models"
                " WHERE name = ?",
                name);
    if (!query.Next()) return NoSuch(name);
    stored = ModelOfRow(query);
    return absl::OkStatus();
  }));
  return stored;
}

absl::StatusOr<std::vector<StoredModel>> ModelStore::ListModels(
    absl::string_view after, int limit) {
  std::vector<StoredModel> models;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT requested_dtype, resident, model FROM models"
                " WHERE name > ? ORDER BY name LIMIT ?",
                after, limit > 0 ? int64_t{limit} : kNoLimit);
    while (query.Next()) models.push_back(ModelOfRow(query));
    return absl::OkStatus();
  }));
  return models;
}

absl::Status ModelStore::DeleteModel(absl::string_view name) {
  return database_.Write([&](Connection& connection) {
    return DeleteRow(connection, "DELETE FROM models WHERE name = ?", name);
  });
}

absl::Status ModelStore::PutAdapter(const StoredAdapter& stored) {
  const std::string bytes = stored.adapter.SerializeAsString();
  const absl::string_view model = ModelOf(stored.adapter.name());
  return database_.Write([&](Connection& connection) {
    if (!HasModel(connection, model)) return NoSuch(model);
    Query(connection,
          "INSERT INTO adapters (name, model, resident, adapter)"
          " VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
          " resident = excluded.resident, adapter = excluded.adapter",
          stored.adapter.name(), model, int32_t{stored.resident}, Blob{bytes})
        .Run();
    return PutArtifacts(connection, stored.adapter);
  });
}

absl::StatusOr<StoredAdapter> ModelStore::GetAdapter(absl::string_view name) {
  StoredAdapter stored;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT resident, adapter FROM adapters WHERE name = ?", name);
    if (!query.Next()) return NoSuch(name);
    stored = AdapterOfRow(query);
    return absl::OkStatus();
  }));
  return stored;
}

absl::StatusOr<std::vector<StoredAdapter>> ModelStore::ListAdapters(
    absl::string_view model, absl::string_view after, int limit) {
  std::vector<StoredAdapter> adapters;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT resident, adapter FROM adapters"
                " WHERE model = ? AND name > ? ORDER BY name LIMIT ?",
                model, after, limit > 0 ? int64_t{limit} : kNoLimit);
    while (query.Next()) adapters.push_back(AdapterOfRow(query));
    return absl::OkStatus();
  }));
  return adapters;
}

absl::Status ModelStore::SetAdapterResident(absl::string_view name,
                                            bool resident) {
  return database_.Write([&](Connection& connection) {
    Query query(connection, "UPDATE adapters SET resident = ? WHERE name = ?",
                int32_t{resident}, name);
    return query.Run() == 0 ? NoSuch(name) : absl::OkStatus();
  });
}

absl::Status ModelStore::DeleteAdapter(absl::string_view name) {
  return database_.Write([&](Connection& connection) {
    return DeleteRow(connection, "DELETE FROM adapters WHERE name = ?", name);
  });
}

absl::StatusOr<bool> ModelStore::HasAdapterOf(absl::string_view config,
                                              absl::string_view weights) {
  bool has = false;
  RETURN_IF_ERROR(database_.Read([&](Connection& connection) {
    Query query(connection,
                "SELECT 1 FROM adapter_artifacts AS config"
                " JOIN adapter_artifacts AS weights USING (adapter)"
                " WHERE config.artifact = ? AND weights.artifact = ?",
                config, weights);
    has = query.Next();
    return absl::OkStatus();
  }));
  return has;
}

}  // namespace dissonance
