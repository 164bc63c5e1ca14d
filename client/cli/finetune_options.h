// The command line of `dissonance finetune`, and the spec that it makes. Thread
// compatible.
//
//   auto args = std::make_shared<FinetuneArgs>();
//   AddFinetuneOptions(app, *args);
//   ...
//   v1::FineTuneSpec spec = FinetuneSpec(*args);   // without the files' bytes
#ifndef DISSONANCE_CLIENT_CLI_FINETUNE_OPTIONS_H_
#define DISSONANCE_CLIENT_CLI_FINETUNE_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "dissonance/v1/jobs.pb.h"

namespace CLI {
class App;
}  // namespace CLI

namespace dissonance::cli {

struct FinetuneArgs {
  // What the options set directly; names are in the fields below.
  v1::FineTuneSpec spec;
  std::string model;
  std::string from;  // empty: a new adapter
  std::string name;
  std::string data;
  std::string evaluation_data;  // empty: no questions
  std::string out;              // empty: no files are fetched
  bool with_checkpoints = false;
  bool detach = false;
  std::string request_id;
  std::vector<std::string> after;  // jobs that have to succeed first
  v1::JobPriority priority = v1::JOB_PRIORITY_UNSPECIFIED;  // not given
};

// `args` outlives the parsing.
void AddFinetuneOptions(CLI::App& app, FinetuneArgs& args);

// With full names; without the contents of files.
v1::FineTuneSpec FinetuneSpec(const FinetuneArgs& args);

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_FINETUNE_OPTIONS_H_
