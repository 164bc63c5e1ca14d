// dissonance-bench-engine: EngineBench on standard input and output. The first
// line says what to load and is answered with {}; each further one is answered
// with a line.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "bench/engine_bench.h"
#include "src/base/status_macros.h"
#include "src/compute/tensor/torch_status.h"

namespace dissonance {
namespace {

absl::Status Run() {
  std::string line;
  std::getline(std::cin, line);
  ASSIGN_OR_RETURN(const std::unique_ptr<EngineBench> bench,
                   EngineBench::Create(line));
  std::cout << "{}\n" << std::flush;
  while (std::getline(std::cin, line)) {
    ASSIGN_OR_RETURN(const std::string answer, bench->Answer(line));
    std::cout << answer << std::flush;
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace dissonance

int main() {
  const absl::Status status = dissonance::CatchTorch("bench", dissonance::Run);
  if (status.ok()) return EXIT_SUCCESS;
  std::fprintf(stderr, "error: %s\n", status.ToString().c_str());
  return EXIT_FAILURE;
}
