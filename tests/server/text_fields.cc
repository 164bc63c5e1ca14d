#include "tests/server/text_fields.h"

namespace dissonance {

const std::set<std::string>& ObjectFields() {
  static const auto& fields =
      *new std::set<std::string>{"name",
                                 "parent",
                                 "model",
                                 "adapter",
                                 "job",
                                 "first_job",
                                 "second_job",
                                 "artifact",
                                 "data_artifact",
                                 "activations_job",
                                 "direction",
                                 "names",
                                 "config",
                                 "depends_on",
                                 "user",
                                 "token",
                                 "weights",
                                 "output_adapter",
                                 "evaluation_data_artifact"};
  return fields;
}

const std::set<std::string>& PlainFields() {
  static const auto& fields =
      *new std::set<std::string>{"text",
                                 "path",  // of the server's machine
                                 "reason",
                                 "note",
                                 "request_id",
                                 "page_token",
                                 "data_name",
                                 "evaluation_data_name",
                                 "target_modules",
                                 "excluded_modules",
                                 "pattern",
                                 "media_type",
                                 "id",
                                 "group",
                                 "role",
                                 "content",
                                 "template_kwargs_json",
                                 "stop_strings",
                                 "cursor",
                                 "source_json",
                                 "label",
                                 "field",
                                 "values",
                                 "target",  // of a job's probes
                                 "universe_name",
                                 "endpoint",  // of the server's configuration
                                 "forbidden_phrases",
                                 "key_facts",  // prompts, as the next three
                                 "document_types",
                                 "document_ideas",
                                 "document",
                                 "title",
                                 "stage",  // of the same pipeline, as the next
                                 "file",
                                 "dissonance.v1.PipelineStage.name",
                                 "dissonance.v1.HostedModel.model",
                                 "dissonance.v1.Meter.name",
                                 "dissonance.v1.ProbeTarget.name",
                                 "dissonance.v1.Candidate.name",
                                 "dissonance.v1.Input.LabelsEntry.key",
                                 "dissonance.v1.Input.LabelsEntry.value"};
  return fields;
}

}  // namespace dissonance
