# shellcheck shell=bash
# ./run gpu-check: what needs a CUDA device, and only that. Sourced.

# gpu_check [--build-only]: builds src/compute alone, runs the tests that
# compare with other libraries and requests with themselves on cuda:0 in
# float32 and bfloat16, then the GPU's benchmarks.
gpu_check() {
  local build_only=false
  while (($#)); do
    case $1 in
      --build-only)
        build_only=true
        shift
        ;;
      *) usage_error "gpu-check: unknown argument '$1'" ;;
    esac
  done
  $build_only || has_gpu ||
    die 'no NVIDIA device here; ./run gpu-check --build-only compiles what' \
      'would run on one'
  PRESET=compute REST=()
  need_setup
  build_preset
  if $build_only; then
    say 'built; nothing was run on a device'
    return
  fi
  DISSONANCE_TEST_DEVICE=cuda:0 ctest --preset compute -j 1 \
    -R 'Golden|Isolation|SelfCheck|StepBatch|Admission'
  install_peers
  exec .venv-peers/bin/python bench/run.py --binaries build/compute/bin \
    --only gpu-decode,gpu-prefill,gpu-adapters,gpu-steering,gpu-capture,gpu-probes
}
