// A client's compute call, charged to its user from its beginning to its end.
// Thread safe. Borrows meter and ledger.
#ifndef DISSONANCE_SERVER_CONTROL_CHARGED_CALL_H_
#define DISSONANCE_SERVER_CONTROL_CHARGED_CALL_H_

#include <string>
#include <utility>

#include "src/lab/jobs/device_meter.h"
#include "src/lab/jobs/usage_ledger.h"

namespace dissonance {

class ChargedCall {
 public:
  ChargedCall(DeviceMeter& meter, UsageLedger& ledger, std::string user)
      : ledger_(ledger), user_(std::move(user)), call_(meter) {}
  ~ChargedCall() { ledger_.AddUnstored(user_, call_.Seconds()); }
  ChargedCall(const ChargedCall&) = delete;
  ChargedCall& operator=(const ChargedCall&) = delete;

 private:
  UsageLedger& ledger_;
  const std::string user_;
  const DeviceMeter::Call call_;
};

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_CHARGED_CALL_H_
