// A scripted model that writes what the pipeline of documents asks for: facts
// that name a universe's patterns, lists of the length that was wanted, and
// documents that hold their fact. The same question always has the same answer.
// Thread safe.
//
//   ScriptedEndpoint endpoint{DocumentWriter(universe_json)};
#ifndef DISSONANCE_TESTS_TESTING_DOCUMENT_WRITER_H_
#define DISSONANCE_TESTS_TESTING_DOCUMENT_WRITER_H_

#include <string>
#include <vector>

#include "tests/testing/scripted_endpoint.h"

namespace dissonance {

class DocumentWriter {
 public:
  // Of the universe file's contents.
  explicit DocumentWriter(const std::string& universe);

  ScriptedAnswer operator()(const ScriptedRequest& request) const;

 private:
  std::vector<std::string> facts_;
};

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_TESTING_DOCUMENT_WRITER_H_
