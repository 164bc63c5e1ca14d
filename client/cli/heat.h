// Colours of a heat map on a terminal. Pure but for the environment that
// UsesColour reads; thread safe.
//
//   const Heat heat(UsesColour());
//   table.AddRow({"-3.2"}, {heat.Style(-3.2 / largest)});
#ifndef DISSONANCE_CLIENT_CLI_HEAT_H_
#define DISSONANCE_CLIENT_CLI_HEAT_H_

#include <string>

namespace dissonance::cli {

// Whether stdout is a terminal that may be coloured: NO_COLOR (no-color.org)
// and TERM=dumb say no.
bool UsesColour();

class Heat {
 public:
  explicit Heat(bool coloured) : coloured_(coloured) {}

  // SGR parameters for a value of -1 (blue) over 0 (none) to 1 (red); beyond
  // counts as the end. Empty without colours.
  std::string Style(double value) const;

 private:
  const bool coloured_;
};

}  // namespace dissonance::cli

#endif  // DISSONANCE_CLIENT_CLI_HEAT_H_
