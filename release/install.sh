#!/bin/sh
# Installs the command mpimg: install.sh --from ADDRESS [--to FOLDER]
#
#   --from ADDRESS   where the files of the release are: an https:// address, or a folder
#   --to FOLDER      where the command goes (default: /usr/local/bin as root, else ~/.local/bin)
#   --sums DIGEST    the SHA-256 sum that SHA256SUMS itself must have, if you have it from elsewhere
#
# The command is installed only if its sum is the one in SHA256SUMS. That shows a damaged download. To be safe from whoever can change
# the files at ADDRESS, give --sums.
set -eu
version=unreleased
from="" to="" sums=""
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || fail "$1 needs a value"
  case "$1" in
    --from) from="${2%/}" ;;
    --to) to="$2" ;;
    --sums) sums="$2" ;;
    *) fail "unknown option $1: --from ADDRESS, --to FOLDER, --sums DIGEST" ;;
  esac
  shift 2
done
[ -n "$from" ] || fail "say where the release is: --from ADDRESS"
[ "$(uname -s)" = Linux ] || fail "mpimg runs on Linux; use a virtual machine or WSL2"
case "$(uname -m)" in
  x86_64 | amd64) name=mpimg-linux-amd64 ;;
  aarch64 | arm64) name=mpimg-linux-arm64 ;;
  *) fail "there is no mpimg for $(uname -m): build it with cargo (docs/install.md)" ;;
esac
if [ -z "$to" ]; then
  if [ "$(id -u)" = 0 ]; then to=/usr/local/bin; else to="$HOME/.local/bin"; fi
fi
mkdir -p "$to"
# Beside its place: it is there whole or not at all.
work="$(mktemp -d "$to/.mpimg-XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
fetch() {
  case "$from" in
    https://* | http://127.0.0.1:* | http://localhost:*)
      if command -v curl >/dev/null; then
        curl -fsSL -o "$work/$1" "$from/$1" || fail "cannot fetch $from/$1"
      elif command -v wget >/dev/null; then
        wget -q -O "$work/$1" "$from/$1" || fail "cannot fetch $from/$1"
      else
        fail "install curl or wget"
      fi
      ;;
    http://*) fail "$from is not encrypted: use https" ;;
    *) cp "$from/$1" "$work/$1" || fail "there is no $1 in $from" ;;
  esac
}
fetch SHA256SUMS
if [ -n "$sums" ]; then
  printf '%s  SHA256SUMS\n' "$sums" | (cd "$work" && sha256sum -c - >/dev/null 2>&1) || fail "SHA256SUMS has another sum than --sums"
fi
grep " [ *]\?$name\$" "$work/SHA256SUMS" >"$work/sum" || fail "the release has no $name"
fetch "$name"
(cd "$work" && sha256sum -c sum >/dev/null 2>&1) || fail "$name does not have the sum in SHA256SUMS: nothing was installed"
chmod 755 "$work/$name"
mv "$work/$name" "$to/mpimg"
echo "installed mpimg $version: $to/mpimg"
case ":$PATH:" in
  *":$to:"*) ;;
  *) echo "add it to your PATH: export PATH=\"$to:\$PATH\"" ;;
esac
