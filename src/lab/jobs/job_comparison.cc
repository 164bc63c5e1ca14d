#include "src/lab/jobs/job_comparison.h"

#include <map>
#include <string>
#include <utility>

#include "src/lab/jobs/spec_difference.h"
#include "src/lab/storage/job_store.h"

namespace dissonance {
namespace {

// What the jobs were asked, in one message.
v1::Job Asked(const v1::Job& job) {
  v1::Job asked;
  *asked.mutable_spec() = JobStore::SpecWithoutData(job.spec());
  *asked.mutable_inputs() = job.inputs();
  return asked;
}

// What computed them.
v1::Job Computed(const v1::Job& job) {
  v1::Job computed;
  *computed.mutable_provenance() = job.provenance();
  computed.set_code_version(job.code_version());
  // An input is compared as one; here it would say the same twice.
  for (v1::Provenance& provenance : *computed.mutable_provenance()) {
    provenance.clear_input_digest();
  }
  return computed;
}

}  // namespace

v1::CompareJobsResponse CompareTwoJobs(const v1::Job& first,
                                       const v1::Job& second) {
  v1::CompareJobsResponse comparison;
  for (v1::JobDifference& difference :
       MessageDifferences(Asked(first), Asked(second))) {
    *comparison.add_inputs() = std::move(difference);
  }
  for (v1::JobDifference& difference :
       MessageDifferences(Computed(first), Computed(second))) {
    *comparison.add_provenance() = std::move(difference);
  }
  std::map<std::string, v1::ComparedOutput> outputs;
  for (const v1::JobOutput& output : first.outputs()) {
    outputs[output.file_name()].set_first(output.artifact());
    outputs[output.file_name()].set_names_run(output.names_run());
  }
  for (const v1::JobOutput& output : second.outputs()) {
    outputs[output.file_name()].set_second(output.artifact());
    if (output.names_run()) outputs[output.file_name()].set_names_run(true);
  }
  bool same = !outputs.empty();
  for (auto& [name, output] : outputs) {
    output.set_file_name(name);
    output.set_equal(output.first() == output.second());
    if (!output.equal() && !output.names_run()) same = false;
    *comparison.add_outputs() = std::move(output);
  }
  comparison.set_same_outputs(same);
  return comparison;
}

}  // namespace dissonance
