# shellcheck shell=bash
# ./run setup: packages, Rust, libtorch, what reports draw with. Sourced.

readonly TORCH_VERSION=2.11.0
# The oldest that the crates of the tokenizer library build with.
readonly RUST_MINIMUM=1.85

# setup [--torch-dir DIR] [--cluster]
setup() {
  local lists=(packages.txt)
  while (($#)); do
    case $1 in
      --cluster)
        lists+=(cluster_packages.txt)
        shift
        ;;
      --torch-dir)
        (($# >= 2)) || usage_error '--torch-dir needs a folder'
        choose_torch_dir "$2"
        shift 2
        ;;
      *) usage_error "setup: unknown argument '$1'" ;;
    esac
  done
  take_tree
  install_packages "${lists[@]}"
  install_rust
  install_torch
  install_assets
  release_tree
}

# The same for commands that need it: silent where nothing is to be done.
need_setup() {
  note() { :; }
  setup
}

note() { say "$@"; }

# Sets AS_ROOT to the words that run a command as root; fails if none do.
find_root() {
  AS_ROOT=()
  if ((EUID == 0)); then return 0; fi
  AS_ROOT=(sudo -n)
  sudo -n true 2>/dev/null
}

# missing_packages LIST...: packages of the lists that are neither installed nor
# replaced by a command, one a line.
missing_packages() {
  local package command
  while read -r package command; do
    [[ -z $package || $package == \#* ]] && continue
    [[ -n $command ]] && command -v "$command" >/dev/null && continue
    installed "$package" || printf '%s\n' "$package"
  done < <(cd "$ROOT/tools/run" && cat "$@")
  python3 -c 'import ensurepip, venv' 2>/dev/null ||
    printf '%s\n' python3 python3-venv
}

installed() {
  # shellcheck disable=SC2016  # the format is dpkg-query's, not the shell's
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

apt_get() {
  "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

# Lists that can't be refreshed may still do; if not, the install says so.
apt_install() {
  apt_get update || true
  hold_services
  apt_get install -y --no-install-recommends "$@"
}

# Until this subshell ends no package starts its daemon: tests start their own,
# and where there is no systemd one that does not start fails the installation.
hold_services() {
  local policy=/usr/sbin/policy-rc.d
  [[ ! -e $policy ]] || return 0
  # shellcheck disable=SC2064  # as it is now
  trap "${AS_ROOT[*]} rm -f $policy" EXIT
  printf '#!/bin/sh\nexit 101\n' |
    "${AS_ROOT[@]}" install -m 755 /dev/stdin "$policy"
}

install_packages() {
  local missing
  if ! command -v dpkg-query >/dev/null; then
    note 'packages: not a Debian system; tools/run/packages.txt lists what the' \
      'build needs'
    return
  fi
  mapfile -t missing < <(missing_packages "$@")
  if ((${#missing[@]} == 0)); then
    note 'packages: all there'
    return
  fi
  find_root || die "packages are missing, and installing them needs root; run:" \
    "sudo apt-get install -y --no-install-recommends ${missing[*]}"
  step "installing ${#missing[@]} packages with apt" "$LOGS/apt.log" \
    apt_install "${missing[@]}"
}

# at_least VERSION MINIMUM
at_least() { [[ $(printf '%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

install_rust() {
  local version
  if version=$(cargo --version 2>/dev/null); then
    version=${version#cargo }
    version=${version%% *}
    at_least "$version" "$RUST_MINIMUM" ||
      die "cargo $version is too old, $RUST_MINIMUM or newer is needed: remove" \
        "the package (apt-get remove cargo) and run './run setup' again"
    note "rust: cargo $version"
    return
  fi
  # Debian 12 carries a current Rust under this name.
  version=$(apt-cache madison cargo-web 2>/dev/null |
    awk -F '|' 'NR == 1 { print $2 }' | tr -d ' ')
  if [[ -n $version ]] && at_least "$version" "$RUST_MINIMUM" && find_root; then
    step 'installing Rust with apt' "$LOGS/rust.log" apt_install cargo-web
  else
    step "installing Rust with rustup into $HOME/.cargo" "$LOGS/rust.log" \
      install_rustup
  fi
  cargo --version >/dev/null || die "cargo does not run; see $LOGS/rust.log"
}

install_rustup() {
  local script=$ROOT/build/rustup-init.sh
  curl --proto '=https' --tlsv1.2 -sSf -o "$script" https://sh.rustup.rs
  sh "$script" -y --profile minimal --no-modify-path
}

# A file that keeps the choice of --torch-dir; without it the wheel is used.
readonly TORCH_CHOICE=$ROOT/.venv/torch-dir

choose_torch_dir() {
  local dir=$1
  if [[ -z $dir ]]; then
    rm -f "$TORCH_CHOICE"
    return
  fi
  [[ -e $dir/lib/libtorch_cpu.so && -d $dir/include/ATen ]] ||
    die "no lib/libtorch_cpu.so and include/ATen in '$dir': name the folder of" \
      'the torch package, or of an unpacked libtorch'
  mkdir -p "$ROOT/.venv"
  realpath "$dir" >"$TORCH_CHOICE"
}

# The folder of libtorch that was chosen; empty for the wheel in .venv.
torch_dir() {
  if [[ -f $TORCH_CHOICE ]]; then cat "$TORCH_CHOICE"; fi
}

has_gpu() {
  [[ -e /dev/nvidia0 ]] || nvidia-smi -L >/dev/null 2>&1
}

# Without a GPU the wheel's own libraries and the two that they are linked
# with are enough: 0.5 GB to download instead of 4.7 GB.
readonly TORCH_CPU=(--no-deps "torch==$TORCH_VERSION"
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
readonly TORCH_GPU=("torch==$TORCH_VERSION")

install_torch() {
  local stamp=$ROOT/.venv/torch.stamp lib kind=CPU cpu gpu want
  if [[ -n $(torch_dir) ]]; then
    note "libtorch: $(torch_dir)"
    return
  fi
  cpu=$(digest "${TORCH_CPU[@]}")
  gpu=$(digest "${TORCH_GPU[@]}")
  want=$cpu
  if has_gpu; then
    kind=GPU
    want=$gpu
  fi
  lib=$(compgen -G "$ROOT/.venv/lib/python3*/site-packages/torch/lib/libtorch_cpu.so" ||
    true)
  # The GPU's wheel serves a machine without one too.
  if [[ -n $lib ]] && { stamped "$stamp" "$want" || stamped "$stamp" "$gpu"; }; then
    note "libtorch: $TORCH_VERSION in .venv"
    return
  fi
  if [[ $kind == GPU ]]; then
    step "installing libtorch $TORCH_VERSION for GPU (4.7 GB)" \
      "$LOGS/torch.log" pip_install .venv "${TORCH_GPU[@]}"
  else
    step "installing libtorch $TORCH_VERSION for CPU (0.5 GB)" \
      "$LOGS/torch.log" pip_install .venv "${TORCH_CPU[@]}"
  fi
  printf '%s\n' "$want" >"$stamp"
}

# The libraries that draw a report's charts, and what opens one in a browser for
# its test, in the versions of the lock file.
install_assets() {
  command -v npm >/dev/null ||
    die "npm is missing, which fetches what reports draw their charts with;" \
      "install Node.js with npm, or see DISSONANCE_ASSETS_DIR in" \
      "src/lab/report/CMakeLists.txt"
  npm_packages tools/assets
}

# pip_install VENV ARGUMENT...: installs into a virtual environment of this
# tree, made first if need be; with uv where it can be had.
pip_install() {
  local venv=$ROOT/$1 uv
  shift
  [[ -x $venv/bin/python ]] || python3 -m venv "$venv"
  if uv --version >/dev/null 2>&1; then
    uv=uv
  else
    uv=$venv/bin/uv
    [[ -x $uv ]] || "$venv/bin/python" -m pip install uv || uv=
  fi
  if [[ -n $uv ]]; then
    "$uv" pip install --python "$venv/bin/python" "$@"
  else
    "$venv/bin/python" -m pip install "$@"
  fi
}
