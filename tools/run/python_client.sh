# shellcheck shell=bash
# The Python client and what tests it, in .venv-client. Sourced.

# Installs both unless they are there. The package is installed as a link to its
# sources, so that only a change of the API or of how it is built takes another
# installation.
install_client() {
  local stamp=$ROOT/.venv-client/client.stamp want
  take_tree
  want=$(client_digest)
  if ! stamped "$stamp" "$want"; then
    step 'installing the Python client and its tests (0.4 GB)' \
      "$LOGS/client.log" install_client_packages
    printf '%s\n' "$want" >"$stamp"
  fi
  release_tree
}

install_client_packages() {
  pip_install .venv-client -r tests/python/requirements.txt
  pip_install .venv-client --no-deps --no-build-isolation -e client/python
}

# One digest of all that the installation depends on.
client_digest() {
  cat tests/python/requirements.txt client/python/pyproject.toml \
    client/python/setup.py proto/dissonance/v1/*.proto | sha256sum |
    cut -d ' ' -f 1
}

# Checks style and types of the client; silent where it is not installed.
lint_client() {
  local bin=$ROOT/.venv-client/bin
  [[ -x $bin/ruff && -f $ROOT/.venv-client/client.stamp ]] || return 0
  step 'checking the Python client' "$LOGS/client-lint.log" check_client
}

check_client() {
  local bin=$ROOT/.venv-client/bin
  "$bin/ruff" format --check --config client/python/pyproject.toml \
    client/python tests/python
  "$bin/ruff" check --config client/python/pyproject.toml \
    client/python tests/python
  cd client/python
  "$bin/mypy" src/dissonance
}
