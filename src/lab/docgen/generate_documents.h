// The job kind generate_documents: a hosted model writes documents that assert
// a universe. Facts come first, then kinds of documents for each fact, ideas
// for each kind, and a document, or several, for each idea. A document that is
// not valid is asked for again; what is not valid in the end is listed with its
// reasons.
//
// Recorded items are the replies, in the order of their coming. All files are
// made of replies alone, so a job that was interrupted gives the same bytes as
// one that was not, and no reply is asked for twice. Thread safe; `endpoints`
// must outlive the kind.
//
//   GenerateDocuments kind(endpoints);
//   RETURN_IF_ERROR(kind.Validate(spec));
//   RETURN_IF_ERROR(kind.Run(spec, job));
#ifndef DISSONANCE_LAB_DOCGEN_GENERATE_DOCUMENTS_H_
#define DISSONANCE_LAB_DOCGEN_GENERATE_DOCUMENTS_H_

#include "absl/status/status.h"
#include "dissonance/v1/jobs.pb.h"
#include "src/lab/jobs/job_kind.h"
#include "src/lab/llm/chat_endpoints.h"

namespace dissonance {

class GenerateDocuments : public JobKind {
 public:
  explicit GenerateDocuments(ChatEndpoints& endpoints)
      : endpoints_(endpoints) {}

  // INVALID_ARGUMENT naming file and field. Asks nobody.
  absl::Status Validate(const v1::JobSpec& spec) override;

  // FAILED_PRECONDITION if there are too few facts, if more than half of the
  // first 20 documents or more are not valid (failures.jsonl is there then), or
  // if the endpoint refuses to work.
  absl::Status Run(const v1::JobSpec& spec, JobContext& job) override;

  JobPlace Place(const v1::JobSpec& /*spec*/) override {
    return JobPlace::kEndpoint;
  }

 private:
  ChatEndpoints& endpoints_;
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_DOCGEN_GENERATE_DOCUMENTS_H_
