// For whom something is read or changed. A value.
#ifndef DISSONANCE_LAB_STORAGE_VIEWER_H_
#define DISSONANCE_LAB_STORAGE_VIEWER_H_

#include <string>

namespace dissonance {

struct Viewer {
  std::string user = {};  // as in Principal, without "users/"
  bool sees_all = false;  // an administrator
};

}  // namespace dissonance

#endif  // DISSONANCE_LAB_STORAGE_VIEWER_H_
