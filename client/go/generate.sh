#!/usr/bin/env bash
# Generates the Go packages of dissonance.v1 into v1/, with protoc and its plugins
# for Go, which are installed into build/clients.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p ../../build/clients/go-plugins
GOBIN=$(realpath ../../build/clients/go-plugins)
export GOBIN
# The newest that Debian 12's Go compiles, as the versions in go.mod.
go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.33.0
go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.3.0
# go_package is dissonance/v1, so the packages are found in the module dissonance.
protoc -I ../../proto \
  --plugin="$GOBIN/protoc-gen-go" --go_out=. --go_opt=module=dissonance \
  --plugin="$GOBIN/protoc-gen-go-grpc" \
  --go-grpc_out=. --go-grpc_opt=module=dissonance \
  ../../proto/dissonance/v1/*.proto
