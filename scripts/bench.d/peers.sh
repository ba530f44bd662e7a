# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# The programs that cairn is measured beside, and their installation.

# The same release of BLAKE3 as in Cargo.lock, so that the two differ in what is around it.
b3sum_version=1.8.7

# Installs what the cases need and the machine lacks; says what.
install_peers() {
  local packages=() hash=false name
  for name in "$@"; do
    case $name in
      noop-*) command -v ninja >/dev/null || packages+=(ninja-build) ;;
      first-*) command -v make >/dev/null || packages+=(make) ;;
      memory-*) [[ -x /usr/bin/time ]] || packages+=(time) ;;
      hash-*) hash=true ;;
    esac
  done
  if ((${#packages[@]})); then install_packages "${packages[@]}"; fi
  if $hash; then install_b3sum; fi
}

install_packages() {
  local as_root=() packages
  mapfile -t packages < <(printf '%s\n' "$@" | sort -u)
  command -v apt-get >/dev/null || wrong "missing: ${packages[*]}. This script only knows apt: install them yourself"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || wrong "missing: ${packages[*]}. Run this script as root, or install sudo"
    as_root=(sudo)
  fi
  say "installing: ${packages[*]}"
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >&2
}

# Compiled from source: distributions carry other releases. Kept in the cache, by version.
install_b3sum() {
  local folder=$cache/b3sum-$b3sum_version
  if [[ ! -x $folder/bin/b3sum ]]; then
    say "compiling b3sum $b3sum_version (once)"
    env -u CARGO_TARGET_DIR cargo install b3sum --quiet --locked --version "$b3sum_version" --root "$folder" \
      >&2 || wrong "b3sum could not be installed"
  fi
  PATH=$folder/bin:$PATH
}
