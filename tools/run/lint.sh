# shellcheck shell=bash
# ./run fmt, lint, tidy. Sourced.

# The C++ sources of the tree, also those not yet added to git.
cpp_sources() {
  git ls-files -co --exclude-standard --deduplicate -- '*.cc' '*.h' |
    while IFS= read -r file; do
      if [[ -f $file ]]; then printf '%s\n' "$file"; fi
    done
}

format_sources() {
  command -v clang-format >/dev/null || need_setup
  cpp_sources | xargs -r clang-format -i
  say 'formatted'
}

# Checks that need no build, in seconds.
lint() {
  command -v clang-format >/dev/null || need_setup
  step 'checking the format (./run fmt mends it)' "$LOGS/format.log" check_format
  step 'checking the layers' "$LOGS/layers.log" check_layers
  step 'checking that tests named in docs exist' "$LOGS/docs.log" \
    python3 tools/check_docs.py
  step "checking the package's tools" "$LOGS/licenses.log" \
    python3 tools/package/licenses_test.py
  lint_proto
  if command -v shellcheck >/dev/null; then
    step 'checking the shell scripts' "$LOGS/shellcheck.log" \
      shellcheck -x run .ci/run client/go/generate.sh deploy/dissonance-demo \
      tests/package/clean_root.sh
  fi
  lint_client
}

check_format() { cpp_sources | xargs -r clang-format --dry-run -Werror; }

# The form of the API, and that what is there stays (docs/structure.md).
lint_proto() {
  if ! command -v npm >/dev/null; then
    say "the API is not checked: no npm here ('./run setup' installs it)"
    return
  fi
  npm_packages tools/lint
  step 'checking the form of the API' "$LOGS/buf-lint.log" buf lint proto
  step 'checking that clients of the API go on working' \
    "$LOGS/buf-breaking.log" check_proto_changes
}

buf() { tools/lint/node_modules/.bin/buf "$@"; }

# Against what the API was where this branch left origin's main, or one commit
# ago.
check_proto_changes() {
  local base before=build/proto-before
  base=$(base_of proto)
  git rev-parse --verify --quiet "$base:proto" >/dev/null || return 0
  rm -rf "$before"
  mkdir -p "$before"
  git archive "$base" proto | tar -x -C "$before"
  buf breaking proto --against "$before/proto"
}

check_layers() {
  python3 tools/check_layers_test.py
  python3 tools/check_layers.py
}

# Most files that one call of tidy reads when they were not named; a file takes
# 3 to 30 s.
readonly TIDY_LIMIT=12

# tidy [FILES]: without FILES the sources that differ from origin's main, or
# from the commit before when there is no difference.
tidy() {
  local files=("$@") known=() file
  PRESET=release REST=(proto proto_grpc)
  need_setup
  build_preset
  if ((${#files[@]} == 0)); then
    mapfile -t files < <(changed_sources)
  fi
  for file in "${files[@]}"; do
    if grep -qF "\"$ROOT/$file\"" "$ROOT/build/release/compile_commands.json"; then
      known+=("$file")
    fi
  done
  if (($# == 0 && ${#known[@]} > TIDY_LIMIT)); then
    say "clang-tidy: ${#known[@]} files changed; the first $TIDY_LIMIT are" \
      "checked ('./run tidy FILES' checks others)"
    known=("${known[@]:0:TIDY_LIMIT}")
  fi
  if ((${#known[@]} == 0)); then
    say 'clang-tidy: no sources to check'
    return
  fi
  step "clang-tidy on ${#known[@]} files" "$LOGS/tidy.log" \
    run_tidy "${known[@]}"
}

# The compile commands are GCC's: clang knows not all of its warnings, and
# OpenMP's header is not where clang looks.
run_tidy() {
  printf '%s\0' "$@" | xargs -0 -n 1 -P "$(compile_jobs)" \
    clang-tidy --quiet --extra-arg=-Wno-unknown-warning-option \
      --extra-arg=-fno-openmp -p build/release
}

# base_of PATH...: the commit to compare those files with: where this branch left
# origin's main, or the one before when nothing differs. Without a commit before,
# as in a shallow clone, an empty tree.
base_of() {
  local base
  base=$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse HEAD)
  if git diff --quiet "$base" -- "$@"; then
    base=$(git rev-parse --verify --quiet HEAD~1 ||
      git hash-object -t tree /dev/null)
  fi
  printf '%s' "$base"
}

# Changed .cc files, and those whose header changed, in the order of git.
changed_sources() {
  git diff --name-only --diff-filter=d "$(base_of '*.cc' '*.h')" \
    -- '*.cc' '*.h' |
    sed 's/\.h$/.cc/' | awk '!seen[$0]++' |
    while IFS= read -r file; do
      if [[ -f $file ]]; then printf '%s\n' "$file"; fi
    done
}
