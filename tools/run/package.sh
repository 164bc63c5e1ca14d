# shellcheck shell=bash
# ./run package: the programs as one file for other machines. Sourced.

# package [--check]
package() {
  local check=false archive
  while (($#)); do
    case $1 in
      --check) check=true ;;
      *) usage_error "package: unknown argument '$1'" ;;
    esac
    shift
  done
  PRESET=release REST=(bin/dissonance bin/dissonanced bin/dissonance-worker)
  need_setup
  build_preset
  rm -rf build/package
  step 'packing (a minute)' "$LOGS/package.log" \
    cpack --config build/release/CPackConfig.cmake -B build/package
  archive=$(compgen -G 'build/package/dissonance-*.tar.gz')
  say "$archive: $(du -h "$archive" | cut -f 1)"
  $check || return 0
  if ! command -v debootstrap >/dev/null && find_root; then
    step 'installing debootstrap with apt' "$LOGS/apt.log" \
      apt_install debootstrap
  fi
  exec tests/package/clean_root.sh "$archive"
}
