# shellcheck shell=bash
# What every command of ./run uses: messages, timed steps, stamps. Sourced.

say() { printf '%s\n' "$*"; }

# Ends the command with one line.
die() {
  printf 'run: %s\n' "$*" >&2
  exit 1
}

# Ends the command with one line and the exit code of wrong usage.
usage_error() {
  printf "run: %s; './run help' shows the commands\n" "$*" >&2
  exit 2
}

# took SECONDS: a length of time for people.
took() {
  if (($1 < 60)); then
    printf '%d s' "$1"
  else
    printf '%d min %02d s' "$(($1 / 60))" "$(($1 % 60))"
  fi
}

# Copies stdin into the file $1; shows where it is: on a terminal as one line
# that is overwritten, elsewhere as a line every 30 s.
show_progress() {
  local log=$1 line shown=$SECONDS
  while IFS= read -r line || [[ -n $line ]]; do
    printf '%s\n' "$line" >>"$log"
    if [[ -t 1 ]]; then
      printf '\r\033[K  %.76s' "${line//[[:cntrl:]]/ }"
    elif ((SECONDS - shown >= 30)); then
      printf '  %.76s\n' "$line"
      shown=$SECONDS
    fi
  done
  if [[ -t 1 ]]; then printf '\r\033[K'; fi
}

# The line of a log that best says what went wrong.
first_error() {
  grep -m1 -E '(^| )(fatal )?error: ' "$1" ||
    grep -m1 -E '^(E: |CMake Error|ERROR|error\b|fatal: |FAILED: )' "$1" ||
    grep -v '^[[:space:]]*$' "$1" | tail -n 1
}

# step LABEL LOG COMMAND...: runs a command with its output in LOG, says what
# it does and how long it took. When it fails, ends with one line.
step() {
  local label=$1 log=$2 start=$SECONDS rc
  shift 2
  mkdir -p "$(dirname "$log")"
  : >"$log"
  say "$label ..."
  set +e
  (
    set -e
    "$@"
  ) </dev/null 2>&1 | show_progress "$log"
  rc=${PIPESTATUS[0]}
  set -e
  if ((rc != 0)); then
    # Nobody can open the log of a machine that is gone.
    if [[ ${CI:-} == true ]]; then tail -n 100 "$log"; fi
    die "$label failed: $(first_error "$log"); the whole output: $log"
  fi
  say "$label: done in $(took $((SECONDS - start)))"
}

# digest WORD...: one hex digest of the words.
digest() { printf '%s\0' "$@" | sha256sum | cut -d ' ' -f 1; }

# stamped FILE DIGEST: whether FILE says that DIGEST is what is there.
stamped() { [[ -f $1 && $(<"$1") == "$2" ]]; }

# Lets one ./run at a time change this tree. release_tree ends it.
take_tree() {
  mkdir -p "$ROOT/build"
  exec 9>"$ROOT/build/.lock"
  if ! flock -n 9; then
    say 'waiting for another ./run in this tree ...'
    flock 9
  fi
}

release_tree() { exec 9>&-; }

# The bytes of memory that new processes may use, in MiB.
free_memory_mib() {
  local mib limit
  mib=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
  if [[ -r /sys/fs/cgroup/memory.max ]]; then
    limit=$(</sys/fs/cgroup/memory.max)
    if [[ $limit != max ]] && ((limit / 1048576 < mib)); then
      mib=$((limit / 1048576))
    fi
  fi
  printf '%d' "$mib"
}

# Compile jobs at once: one a processor, each with 1.5 GiB of memory.
compile_jobs() {
  local jobs by_memory
  jobs=$(nproc)
  by_memory=$(($(free_memory_mib) / 1536))
  if ((by_memory < jobs)); then jobs=$by_memory; fi
  if ((jobs < 1)); then jobs=1; fi
  printf '%d' "$jobs"
}
