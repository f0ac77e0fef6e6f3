#!/bin/sh
# Installs the command mpimg: install.sh --from ADDRESS [--to FOLDER]
#
#   --from ADDRESS   where the files of the release are: an https:// address, or a folder
#   --to FOLDER      where the command goes (default: /usr/local/bin as root, else ~/.local/bin)
#   --key FILE       the public key that must have signed the release, if you have it from elsewhere
#   --sums DIGEST    the SHA-256 sum that SHA256SUMS itself must have, if you have it from elsewhere
#
# The command is installed only if its sum is the one in SHA256SUMS, which shows a damaged download. Who made it, the signature
# SHA256SUMS.sig shows: it must be by the key of --key, else by the one below, which the release's maker wrote into this script. openssl
# verifies it, else cosign, else an mpimg that is there already. Where this script has a key, a release without a good signature is not
# installed. A key in a script from ADDRESS is no proof against who can change the files there: give --key or --sums, or have this script
# from elsewhere.
set -eu
version=unreleased
key=''
from="" to="" sums="" given=""
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
while [ $# -gt 0 ]; do
  case "$1" in
    # Not from the comments above: the script may come through a pipe.
    -h | --help) cat <<'HELP'; exit 0 ;;
Installs the command mpimg: install.sh --from ADDRESS [--to FOLDER] [--key FILE] [--sums DIGEST]

  --from ADDRESS   where the files of the release are: an https:// address, or a folder
  --to FOLDER      where the command goes (default: /usr/local/bin as root, else ~/.local/bin)
  --key FILE       the public key that must have signed the release
  --sums DIGEST    the SHA-256 sum that SHA256SUMS itself must have
HELP
  esac
  [ $# -ge 2 ] || fail "$1 needs a value"
  case "$1" in
    --from) from="${2%/}" ;;
    --to) to="$2" ;;
    --key) given="$2" ;;
    --sums) sums="$2" ;;
    *) fail "unknown option $1: --from ADDRESS, --to FOLDER, --key FILE, --sums DIGEST" ;;
  esac
  shift 2
done
[ -n "$from" ] || fail "say where the release is: --from ADDRESS"
if [ -n "$given" ]; then key="$(cat "$given")" || fail "cannot read the key $given"; fi
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
# Whether SHA256SUMS.sig is a signature of SHA256SUMS by the key; sets `by` to the program that knows.
signed() {
  if command -v openssl >/dev/null; then
    by=openssl
    openssl base64 -d -A -in "$work/SHA256SUMS.sig" -out "$work/signature" 2>/dev/null &&
      openssl dgst -sha256 -verify "$work/key.pub" -signature "$work/signature" "$work/SHA256SUMS" >/dev/null 2>&1
  elif command -v cosign >/dev/null; then
    by=cosign
    cosign verify-blob --key "$work/key.pub" --signature "$work/SHA256SUMS.sig" --insecure-ignore-tlog=true "$work/SHA256SUMS" >/dev/null 2>&1
  elif command -v mpimg >/dev/null; then
    by=mpimg
    mpimg verify --key "$work/key.pub" --file "$work/SHA256SUMS" >/dev/null 2>&1
  else
    fail "nothing here can verify the release's signature: install openssl, or cosign"
  fi
}
fetch SHA256SUMS
if [ -n "$sums" ]; then
  printf '%s  SHA256SUMS\n' "$sums" | (cd "$work" && sha256sum -c - >/dev/null 2>&1) || fail "SHA256SUMS has another sum than --sums"
fi
if [ -n "$key" ]; then
  printf '%s\n' "$key" >"$work/key.pub"
  fetch SHA256SUMS.sig
  signed || fail "SHA256SUMS is not signed with the release's key, says $by: nothing was installed"
  echo "SHA256SUMS is signed with ${given:-the key in this script}, says $by"
elif [ -z "$sums" ]; then
  echo "who made this release is not verified: the script has no key, and neither --key nor --sums was given" >&2
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
