# shellcheck shell=bash
# ./run build, test, bench: configure, compile, run. Sourced.

# take_preset ARGUMENT...: sets PRESET and REST (the other arguments).
take_preset() {
  PRESET=release
  REST=()
  while (($#)); do
    case $1 in
      --preset)
        (($# >= 2)) || usage_error '--preset needs a name'
        PRESET=$2
        shift 2
        ;;
      --preset=*)
        PRESET=${1#--preset=}
        shift
        ;;
      *)
        REST+=("$1")
        shift
        ;;
    esac
  done
  grep -q "\"configurePreset\": \"$PRESET\"" "$ROOT/CMakePresets.json" ||
    usage_error "no preset '$PRESET' in CMakePresets.json"
}

# build [--preset NAME] [TARGET...]
build() {
  take_preset "$@"
  need_setup
  build_preset
}

# Configures if need be and compiles PRESET's targets REST (none: all).
build_preset() {
  local dir=$ROOT/build/$PRESET key
  take_tree
  key=$(digest "$PRESET" "$(torch_dir)" "$(command -v ccache mold)")
  if [[ ! -f $dir/build.ninja ]] || ! stamped "$dir/configure.stamp" "$key"; then
    step "configuring $PRESET" "$LOGS/configure-$PRESET.log" \
      cmake --preset "$PRESET" -DDISSONANCE_TORCH_DIR="$(torch_dir)"
    printf '%s\n' "$key" >"$dir/configure.stamp"
  fi
  # The same sources in another folder find the same entries of the cache.
  export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1
  export CCACHE_STATSLOG=$LOGS/ccache-stats.log
  rm -f "$CCACHE_STATSLOG"
  step "building $PRESET with $(compile_jobs) jobs" "$LOGS/build-$PRESET.log" \
    nice ninja -C "$dir" -j "$(compile_jobs)" "${REST[@]}"
  say_cache_use
  release_tree
}

say_cache_use() {
  local hits misses
  [[ -f $CCACHE_STATSLOG ]] || return 0
  hits=$(grep -cE '^(direct|preprocessed)_cache_hit$' "$CCACHE_STATSLOG" || true)
  misses=$(grep -c '^cache_miss$' "$CCACHE_STATSLOG" || true)
  ((hits + misses > 0)) || return 0
  say "ccache: $hits of $((hits + misses)) files were in the cache" \
    "($((100 * hits / (hits + misses))) %)"
}

# run_tests [--preset NAME] [ARGUMENT OF CTEST...]. What ctest says comes last.
run_tests() {
  local arguments
  take_preset "$@"
  arguments=("${REST[@]}")
  REST=()
  need_setup
  prepare_clients
  install_client
  build_preset
  say "running the tests of $PRESET ..."
  exec ctest --preset "$PRESET" -j "$(nproc)" "${arguments[@]}"
}

# llama-cpp-python is compiled here, for this processor. TransformerLens 3.9 is
# the last with HookedTransformer.
readonly PEERS=("torch==$TORCH_VERSION" transformers==5.17.0 peft==0.21.2
  transformer-lens==3.9.0 llama-cpp-python==0.3.36 gguf==0.19.0
  numpy safetensors grpcio grpcio-tools scikit-learn)

# Installs the peers unless they are there.
install_peers() {
  local stamp=$ROOT/.venv-peers/peers.stamp peers
  take_tree
  peers=$(digest "${PEERS[@]}")
  if ! stamped "$stamp" "$peers"; then
    step 'installing the peers (4.8 GB; compiles llama.cpp, some minutes)' \
      "$LOGS/peers.log" pip_install .venv-peers "${PEERS[@]}"
    printf '%s\n' "$peers" >"$stamp"
  fi
  release_tree
}

# bench [ARGUMENT OF bench/run.py...]
bench() {
  PRESET=release REST=()
  need_setup
  build_preset
  install_peers
  exec .venv-peers/bin/python bench/run.py "$@"
}
