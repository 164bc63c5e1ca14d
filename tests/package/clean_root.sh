#!/usr/bin/env bash
# The package on a machine that has nothing but Debian 12's minimal base: unpacks
# it there, asks the loader, and runs the demo. Needs root, the package
# debootstrap, and Debian's mirror.
#
#   tests/package/clean_root.sh ARCHIVE [ROOT]
#
# ROOT: a folder with a base system that debootstrap made; used, not changed.
set -euo pipefail
(($# == 1 || $# == 2)) || { echo 'usage: clean_root.sh ARCHIVE [ROOT]' >&2; exit 2; }
archive=$(realpath "$1")
((EUID == 0)) || { echo 'clean_root.sh: needs root, for chroot' >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/dissonance-root.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
if (($# == 2)); then
  cp -a "$2" "$root"
else
  command -v debootstrap >/dev/null || {
    echo 'clean_root.sh: no debootstrap; apt-get install debootstrap' >&2
    exit 1
  }
  debootstrap --variant=minbase bookworm "$root" >"$work/debootstrap.log" || {
    tail "$work/debootstrap.log" >&2
    exit 1
  }
fi
mkdir -p "$root/opt/dissonance"
tar -xzf "$archive" -C "$root/opt/dissonance" --strip-components=1
# No network, as nothing is fetched, and mounts that end with the process.
cat >"$root/check.sh" <<'END'
set -eu
mount -t proc proc /proc
[ -e /dev/urandom ] || mknod -m 666 /dev/urandom c 1 9
cd /opt/dissonance
for program in bin/dissonance bin/dissonanced bin/dissonance-worker; do
  # Only glibc is the machine's.
  others=$(ldd "$program" | grep -E 'not found|=> /(usr/)?lib' |
    grep -vE '/(ld-linux|lib(c|m|mvec|dl|rt|util|pthread|resolv))[-.]' || true)
  if [ -n "$others" ]; then
    echo "$program needs more than the package has: $others"
    exit 1
  fi
  "$program" --help >/dev/null
done
bin/dissonance --version
# Read-only, as an installation of root's is to others.
chmod -R a-w .
bin/dissonance-demo /tmp/results
ls /tmp/results
END
unshare --mount --pid --net --fork chroot "$root" /bin/sh /check.sh
echo 'the package runs on a clean Debian 12'
