#include "src/lab/storage/artifact_rows.h"

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"

namespace dissonance {
namespace {

// As user ?1 may know it: nobody learns what an owner keeps to himself.
constexpr char kColumns[] =
    "SELECT a.sequence, a.name, a.size_bytes, a.media_type, a.create_time,"
    " coalesce((SELECT max(visibility) FROM artifact_owners"
    "   WHERE sequence = a.sequence), 1),"
    " EXISTS (SELECT 1 FROM artifact_owners"
    "   WHERE sequence = a.sequence AND pinned != 0"
    "   AND (user = ?1 OR visibility = 2 OR ?2)),"
    " EXISTS (SELECT 1 FROM artifact_owners"
    "   WHERE user = ?1 AND sequence = a.sequence)";

}  // namespace

std::string FindArtifactSql() {
  return absl::StrCat(kColumns, " FROM artifacts AS a WHERE a.name = ?3");
}

std::string ListArtifactsSql(bool sees_all) {
  if (sees_all) {
    return absl::StrCat(kColumns,
                        " FROM artifacts AS a WHERE a.sequence < ?3"
                        " ORDER BY a.sequence DESC LIMIT ?4");
  }
  return absl::StrCat(
      "WITH page (sequence) AS ("
      " SELECT sequence FROM (SELECT sequence FROM artifact_owners"
      "   WHERE user = ?1 AND sequence < ?3 ORDER BY sequence DESC LIMIT ?4)"
      " UNION SELECT sequence FROM (SELECT DISTINCT sequence"
      "   FROM artifact_owners INDEXED BY artifact_owners_shared"
      "   WHERE visibility = 2 AND sequence < ?3"
      "   ORDER BY sequence DESC LIMIT ?4)) ",
      kColumns,
      // CROSS: the page first, then a look-up for each of its rows.
      " FROM page CROSS JOIN artifacts AS a ON a.sequence = page.sequence"
      " ORDER BY page.sequence DESC LIMIT ?4");
}

std::string UnnamedArtifactsSql() {
  return absl::StrCat(
      "SELECT a.sequence, a.name, a.size_bytes, a.create_time"
      " FROM artifacts AS a WHERE a.sequence > ?1 AND",
      kIsUnnamed, " ORDER BY a.sequence LIMIT ?2");
}

v1::Artifact ArtifactOfRow(const Query& query) {
  v1::Artifact artifact;
  artifact.set_name(query.Text(1));
  artifact.set_size_bytes(query.Int(2));
  artifact.set_media_type(query.Text(3));
  *artifact.mutable_create_time() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(query.Int(4));
  artifact.set_visibility(static_cast<v1::Visibility>(query.Int(5)));
  artifact.set_pinned(query.Int(6) != 0);
  artifact.set_owned(query.Int(7) != 0);
  return artifact;
}

}  // namespace dissonance
