# shellcheck shell=bash
# npm's packages for a folder of this tree. Sourced.

# npm_packages DIR: installs what DIR/package-lock.json names into
# DIR/node_modules, unless that is there. Fails where npm is missing.
npm_packages() {
  local dir=$ROOT/$1 lock
  lock=$(digest "$(<"$dir/package-lock.json")")
  if stamped "$dir/node_modules/.stamp" "$lock"; then return; fi
  step "installing the packages of $1 with npm" \
    "$LOGS/npm-${1//\//-}.log" npm_ci "$dir"
  printf '%s\n' "$lock" >"$dir/node_modules/.stamp"
}

# Packages' own scripts are not run: none of ours needs them.
npm_ci() {
  (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund)
}
