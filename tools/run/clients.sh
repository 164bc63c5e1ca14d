# shellcheck shell=bash
# What the examples in client/go and client/node need to run. Sourced.

readonly CLIENTS=$ROOT/build/clients

# Makes both ready for their tests; where a language is missing, says so, and
# its test is skipped.
prepare_clients() {
  take_tree
  if command -v go >/dev/null; then
    prepare_go
  else
    say 'client/go: no go here; its test is skipped'
  fi
  if command -v npm >/dev/null; then
    npm_packages client/node
  else
    say 'client/node: no npm here; its test is skipped'
  fi
  release_tree
}

# The example as a program, of the sources and the API as they are.
prepare_go() {
  local key
  key=$(digest "$(go version)" "$(cat client/go/go.* client/go/*.sh \
    client/go/example/* proto/dissonance/v1/*)")
  if stamped "$CLIENTS/go.stamp" "$key" && [[ -x $CLIENTS/go-example ]]; then
    return
  fi
  step 'building the example in Go' "$LOGS/client-go.log" build_go
  printf '%s\n' "$key" >"$CLIENTS/go.stamp"
}

build_go() {
  client/go/generate.sh
  # Without C, so that it needs no compiler and no library of the machine.
  (cd client/go && export CGO_ENABLED=0 && go vet ./... &&
    go build -buildvcs=false -o "$CLIENTS/go-example" ./example)
}
