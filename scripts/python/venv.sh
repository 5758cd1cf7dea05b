# Sourced by scripts/python-env and scripts/original-env: virtual environments that are made once and kept in a cache
# outside the repository, keyed by their pins. Speaks on standard error only.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { echo "$me: $*" >&2; }
die() { say "$*"; exit 1; }

# The cache folder; /var/tmp where the home folder cannot be written.
cache_folder() {
  local wanted=${SPLENIUM_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/splenium}
  mkdir -p "$wanted" 2>/dev/null && [ -w "$wanted" ] || {
    wanted=/var/tmp/splenium-cache-$(id -u)
    mkdir -p "$wanted"
  }
  (cd "$wanted" && pwd)
}

# apt_install PACKAGE...: as root on Debian, otherwise a clear word.
apt_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "needs the packages $*: install them"
  say "apt-get install $*"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; } </dev/null >&2
}

# usable PYTHON CONDITION: does it run, can it make environments, and is its version right? A pyenv shim may exist and fail.
usable() { "$1" -c "import ensurepip, sys, venv; sys.exit(not ($2))" >/dev/null 2>&1 </dev/null; }

# environment NAME REQUIREMENTS CHECK PYTHON [ENTER]: makes the environment unless it is there, and prints its interpreter.
# CHECK is a Python statement that must work in the end; ENTER is a command that runs another inside a foreign root.
# An environment cannot be moved, so it is made in place under a lock, and a stamp written last says that it is whole.
# Every package is pinned, so nothing is resolved.
environment() {
  local name=$1 requirements=$2 check=$3 python=$4 enter=${5:-} identity key folder interpreter try
  identity=$($enter "$python" -c 'import sys; print(sys.version, sys.prefix)' </dev/null) || die "$python does not run"
  key=$({ cat "$requirements"; echo "$identity $enter"; } | sha256sum | cut -c1-12)
  folder=$(cache_folder)/$name-$key
  interpreter=$folder/bin/python
  {
    flock 9
    for try in 1 2 3; do
      [ -e "$folder/complete" ] && break
      say "making $folder (once), try $try"
      rm -rf "$folder"
      { $enter "$python" -m venv "$folder" &&
        $enter "$interpreter" -m pip install -q --disable-pip-version-check --no-deps --prefer-binary --use-pep517 -r "$requirements" &&
        $enter "$interpreter" -c "$check" && touch "$folder/complete"; } </dev/null >&2 9>&- || true
    done
  } 9>"$folder.lock"
  [ -e "$folder/complete" ] || die "could not make $folder"
  if [ -n "$enter" ]; then
    interpreter=$folder/python
    printf '#!/bin/sh\nexec %s %s/bin/python "$@"\n' "$enter" "$folder" >"$interpreter.$$"
    chmod 755 "$interpreter.$$"
    mv "$interpreter.$$" "$interpreter"
  fi
  echo "$interpreter"
}
