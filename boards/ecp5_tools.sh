#!/usr/bin/env bash
# ./bootstrap ecp5: nextpnr-ecp5 and ecppack, which `heddle synth --board ulx3s` runs.
#
# Debian packages both from release 13 on; there apt installs them. On Debian 12 the packages of Debian 13 are unpacked into a folder of their own in
# heddle's cache (HEDDLE_CACHE, else XDG_CACHE_HOME/heddle, else ~/.cache/heddle). Nothing outside of it changes and no privilege is needed: apt runs on lists and
# a package state of its own, made from this machine's sources with the release's name replaced, so mirror and keys are the machine's own. It
# resolves every dependency down to the C library, and the programs run on that library through its own loader.
set -euo pipefail
say() { printf 'bootstrap: %s\n' "$*"; }
die() { printf 'bootstrap: %s\n' "$*" >&2; exit 1; }
packages=(nextpnr-ecp5 fpga-trellis) release=trixie

usable() { "$1nextpnr-ecp5" --version >/dev/null 2>&1 && "$1ecppack" --version >/dev/null 2>&1; }
if usable ""; then say "nextpnr-ecp5 and ecppack are already in PATH"; exit 0; fi
command -v apt-get >/dev/null || die "this script knows Debian only; install nextpnr-ecp5 and prjtrellis so that nextpnr-ecp5 and ecppack are in PATH"
here=$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-0} ${VERSION_CODENAME:-}")
read -r id version codename <<<"$here"
[ "$id" = debian ] || die "found $id, which this script does not know; allowed: debian. Install nextpnr-ecp5 and prjtrellis so that nextpnr-ecp5 and ecppack are in PATH"

if [ "${version%%.*}" -ge 13 ]; then
    run=()
    [ "$(id -u)" -eq 0 ] || run=(sudo)
    "${run[@]}" apt-get update -q && "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
    exit
fi

if [ -n "${HEDDLE_CACHE:-}" ]; then cache=$HEDDLE_CACHE
elif [ -n "${XDG_CACHE_HOME:-}" ]; then cache=$XDG_CACHE_HOME/heddle
else cache=${HOME:?is not set; set HEDDLE_CACHE}/.cache/heddle; fi
mkdir -p "$cache" && cache=$(readlink -f "$cache") || die "$cache: cannot be made; set HEDDLE_CACHE to a writable folder"
root=$cache/ecp5-tools
if usable "$root/bin/"; then say "nextpnr-ecp5 and ecppack are already in $root"; exit 0; fi

# Everything happens under another name; a run that is stopped leaves nothing.
new=$(mktemp -d "$cache/ecp5-tools.new-XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$new/apt/lists/partial" "$new/apt/archives/partial" "$new/usr" "$new/bin"
: >"$new/apt/status"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keys ] || die "$keys: is missing; install the package debian-archive-keyring"
# The main archive is the one whose release has exactly this machine's name; -security and -updates of a new release need not exist yet.
apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' | sort -u |
    awk -v from="$codename" -v to=$release -v keys=$keys '$2 == from && $3 == "main" {print "deb [signed-by=" keys "] " $1 " " to " main"}' >"$new/apt/sources.list"
[ -s "$new/apt/sources.list" ] || die "the apt sources of this machine name no archive of release '$codename' with component main; $release cannot be found from them"
options=(-q -o "Dir::Etc::sourcelist=$new/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$new/apt/lists"
    -o "Dir::State::status=$new/apt/status" -o "Dir::State::extended_states=$new/apt/extended" -o "Dir::Cache::archives=$new/apt/archives"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none
    -o APT::Install-Recommends=false -o Acquire::Retries=3)
fetch() { apt-get "${options[@]}" "$@" >"$new/apt/log" 2>&1 || { tail -n 5 "$new/apt/log" >&2; die "apt-get $1 failed (its last lines are above); nothing was changed"; }; }

say "reading the package list of Debian 13 ($release), 10 MB"
fetch update
fetch install --print-uris -y "${packages[@]}"
summary=$(awk "/^'/ {n++; bytes += \$3} END {printf \"%d packages, %.1f MB\", n, bytes / 1e6}" "$new/apt/log")
say "downloading $summary (${packages[*]} and what they need), 250 MB unpacked in $root"
fetch install --download-only -y "${packages[@]}"
for package in "$new"/apt/archives/*.deb; do dpkg-deb -x "$package" "$new/all" || die "$package: cannot be unpacked (is the disk full?)"; done
rm -rf "$new/apt"

# Kept: programs, libraries, Python's modules (nextpnr starts an interpreter), chip databases.
mkdir -p "$new/usr/lib" "$new/usr/share"
mv "$new"/all/usr/share/{nextpnr,trellis} "$new/usr/share/"
mv "$new"/all/usr/lib/*-linux-gnu* "$new"/all/usr/lib/python3* "$new/usr/lib/"
loader=$(cd "$new" && find usr/lib -name 'ld-linux*.so*' | head -n 1)
libraries=${loader%/*}
[ -n "$loader" ] || die "the unpacked packages have no loader ld-linux*.so"
# nextpnr has the folder of its chip databases built in. A path of the same length through file descriptor 9, which the wrapper opens, takes its place:
# neither a change root nor a mount, which both need privileges.
LC_ALL=C sed 's|/usr/share/nextpnr/|/proc/self/fd/9////|' "$new/all/usr/bin/nextpnr-ecp5" >"$new/usr/lib/nextpnr-ecp5"
cmp -s "$new/all/usr/bin/nextpnr-ecp5" "$new/usr/lib/nextpnr-ecp5" && die "this nextpnr-ecp5 does not look for its chip databases in /usr/share/nextpnr; the script must be adapted to it"
mv "$new/all/usr/bin/ecppack" "$new/usr/lib/"
rm -rf "$new/all"
head='#!/bin/bash\nroot=$(dirname "$(dirname "$(readlink -f "$0")")")\n'
printf "$head"'exec 9<"$root/usr/share/nextpnr"\nPYTHONHOME="$root/usr" exec "$root/%s" --library-path "$root/%s" "$root/usr/lib/nextpnr-ecp5" "$@"\n' "$loader" "$libraries" >"$new/bin/nextpnr-ecp5"
printf "$head"'exec "$root/%s" --library-path "$root/%s" "$root/usr/lib/ecppack" --db "$root/usr/share/trellis/database" "$@"\n' "$loader" "$libraries" >"$new/bin/ecppack"
chmod 755 "$new" "$new"/bin/* "$new"/usr/lib/{nextpnr-ecp5,ecppack}
"$new/bin/nextpnr-ecp5" --85k --version >/dev/null 2>&1 || die "the unpacked nextpnr-ecp5 does not run: $("$new/bin/nextpnr-ecp5" --85k --version 2>&1 | tail -n 1)"
"$new/bin/ecppack" --version >/dev/null 2>&1 || die "the unpacked ecppack does not run: $("$new/bin/ecppack" --version 2>&1 | tail -n 1)"
rm -rf "$root"
mv -T "$new" "$root"
say "$("$root/bin/nextpnr-ecp5" --version 2>&1 | sed -n 's/.*(Version \(.*\)).*/nextpnr-ecp5 \1/p') and ecppack are in $root/bin; heddle synth --board ulx3s finds them there"
