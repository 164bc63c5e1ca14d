// The end of the server by signal: the first SIGTERM or SIGINT asks for a
// drain, the second ends the process at once.
#ifndef DISSONANCE_SERVER_CONTROL_SIGNALS_H_
#define DISSONANCE_SERVER_CONTROL_SIGNALS_H_

namespace dissonance {

// Keeps SIGTERM and SIGINT from ending this thread and those it starts. To be
// called before there are any others.
void BlockEndSignals();

// Waits for the first signal and returns it. From then on another one ends the
// process with exit code 1, whatever it does. Call once.
int AwaitEndSignal();

}  // namespace dissonance

#endif  // DISSONANCE_SERVER_CONTROL_SIGNALS_H_
