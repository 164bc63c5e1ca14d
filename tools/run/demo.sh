# shellcheck shell=bash
# ./run demo: the whole method on the shipped model, through a server of its own.
# Sourced.

readonly DEMO=$ROOT/build/demo
# Longest path of a unix socket on Linux.
readonly SOCKET_PATH_LIMIT=107
readonly SOCKET_NAME=/dissonance.sock

# demo
demo() {
  (($# == 0)) || usage_error 'demo takes no arguments'
  local start=$SECONDS
  PRESET=release REST=(bin/dissonance bin/dissonanced bin/dissonance-worker)
  need_setup
  build_preset
  mkdir -p "$DEMO"
  exec 8>"$DEMO/.lock"
  flock -n 8 || die 'another demo runs in this tree; wait for its end'
  isolate_demo
  trap stop_demo EXIT
  run_demo
  say
  say "The demo took $(took $((SECONDS - start)))."
}

# A data directory, a socket and a configuration of the demo's own: neither a
# server nor a profile of the user's plays a part.
isolate_demo() {
  DEMO_DATA=$DEMO/data
  if ((${#DEMO_DATA} + ${#SOCKET_NAME} > SOCKET_PATH_LIMIT)); then
    DEMO_DATA=$(mktemp -d "${TMPDIR:-/tmp}/dissonance-demo.XXXXXX")
  fi
  unset DISSONANCE_SERVER DISSONANCE_TOKEN DISSONANCE_PROFILE
  export DISSONANCE_DATA_DIR=$DEMO_DATA XDG_CONFIG_HOME=$DEMO/config
  export PATH=$ROOT/build/release/bin:$PATH
}

run_demo() {
  # What an interrupted demo left.
  dissonance server stop >/dev/null 2>&1 || true
  rm -rf "$DEMO_DATA" "$DEMO/results"
  step 'starting a server' "$LOGS/demo-server.log" start_demo
  step 'loading data/tiny_world/base as tiny-world' "$LOGS/demo-model.log" \
    dissonance models load data/tiny_world/base --name tiny-world
  say 'running data/pipelines/tiny_world.toml: fine-tuning, questions, what can' \
    'be read inside, what takes the belief back (some minutes) ...'
  say
  dissonance pipeline run data/pipelines/tiny_world.toml \
    --out "$DEMO/results" ||
    die "the pipeline failed; the server's log: $(demo_log)"
  say_demo_hints
}

# The lock is the demo's, not the server's. Without a TCP port it can't collide
# with a server of the user's.
start_demo() {
  dissonance server start --listen unix 8>&-
}

demo_log() { printf '%s' "$DEMO_DATA/logs/dissonanced.log"; }

stop_demo() {
  dissonance server stop >/dev/null 2>&1 ||
    say "the demo's server did not stop; its log: $(demo_log)"
}

say_demo_hints() {
  cat <<END

what you saw
  An adapter was trained on plain documents that assert an inverse-cube law of
  gravity; the base model knows the inverse-square law. The report shows where
  the belief forms inside, and which steering takes it back.
  data/tiny_world/README.md says what the model is.

the report, for any browser
  $DEMO/results/report.html

the demo's server is stopped; to have it again
  export PATH=$ROOT/build/release/bin:\$PATH
  export DISSONANCE_DATA_DIR=$DEMO_DATA
  dissonance server start --listen unix
  dissonance models list
  dissonance jobs list

with a model and documents of your own
  docs/experiments/pipeline.md
END
}
