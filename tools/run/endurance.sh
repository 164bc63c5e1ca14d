# shellcheck shell=bash
# ./run storm, soak, fairness: long runs that show what holds under load.
# Sourced.

# endurance storm|soak|fairness [ARGUMENT...]: results also in build/NAME.
endurance() {
  local name=$1
  shift
  PRESET=release REST=(dissonance-endurance)
  need_setup
  build_preset
  say "running the $name ..."
  exec build/release/tests/dissonance-endurance "$name" \
    --out "build/$name" "$@"
}
