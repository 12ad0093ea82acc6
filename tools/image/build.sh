#!/bin/sh
# Builds a base image without a registry, from the distribution's own packages:
#
#	build.sh [OUT.tar.zst]          the default image: what a person works with
#	build.sh --small [OUT.tar]      the least that has apt, bash and sudo; the tests use it
#	build.sh --key [--small]        prints what the image depends on, as a hash
#
# Needs root and mmdebstrap. Packages come from the mirrors of this machine's own
# apt configuration; where that is not Debian's, from MIRROR, else from
# mmdebstrap's default. SUITE names another release. No account is baked in.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

fail() { echo "image: $*" >&2; exit 1; }

size=default only_key=no out=""
while [ $# -gt 0 ]; do
	case $1 in
	--small) size=small ;;
	--key) only_key=yes ;;
	-h | --help) sed -n 's/^# \{0,1\}//p' "$0" | sed 1d; exit 0 ;;
	-*) fail "there is no option $1; try --help." ;;
	*) out=$1 ;;
	esac
	shift
done

id="" codename=""
if [ -r /etc/os-release ]; then
	id=$(. /etc/os-release && echo "${ID:-}")
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
fi
[ "$id" = debian ] && suite=${SUITE:-$codename} || suite=${SUITE:-bookworm}
packages=$(sed 's/#.*//' "$here/$size.packages" | tr -s ' \t\n' ',' | sed 's/^,//; s/,$//')

# A cached image is as good as its recipe, and a month.
if [ "$only_key" = yes ]; then
	{ cat "$0" "$here/$size.packages"; echo "$suite $(date +%Y-%m)"; uname -m; } | sha256sum | cut -c1-16
	exit 0
fi

case $size in small) : "${out:=staithe-small.tar}" ;; *) : "${out:=staithe-$suite.tar.zst}" ;; esac
[ "$(id -u)" = 0 ] || fail "building needs root; run it with sudo."
command -v mmdebstrap >/dev/null 2>&1 || fail "mmdebstrap is missing; run: apt-get install -y mmdebstrap"
case $out in *.zst) command -v zstd >/dev/null 2>&1 || fail "zstd is missing; run: apt-get install -y zstd" ;; esac

# sources prints this machine's own lines for the suite: Debian's, not those of
# third parties, whose keys the image has not.
sources() {
	[ "$id" = debian ] && [ "$suite" = "$codename" ] && command -v apt-get >/dev/null 2>&1 || return 0
	# shellcheck disable=SC2016 # the fields are apt's
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN) $(ARCHITECTURE)' 'Created-By: Packages' |
		while read -r uri release component origin arch; do
			[ "$arch" = "$(dpkg --print-architecture)" ] && [ "$component" = main ] || continue
			case $origin in Debian | '$(ORIGIN)') ;; *) continue ;; esac
			case $release in "$suite" | "$suite"-updates | "$suite"-security) echo "deb $uri $release main" ;; esac
		done
}
lines=$(sources)
[ -n "$lines" ] || lines=${MIRROR:-}

# What is not wanted is removed at the end: excluding it makes every package pass
# through a filter, which takes longer than all the rest.
set -- --variant=apt --format=tar --dpkgopt=force-unsafe-io --include="$packages" --skip=check/empty \
	--customize-hook='find "$1"/usr/share/doc -type f ! -name copyright -delete; rm -rf "$1"/usr/share/locale/*/LC_MESSAGES' \
	--customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/debconf/*-old "$1"/etc/apt/apt.conf.d/99mmdebstrap' \
	--customize-hook='rm -f "$1"/etc/hostname "$1"/etc/resolv.conf' \
	--customize-hook='printf "LANG=C.UTF-8\n" > "$1"/etc/default/locale'
[ "$size" = default ] || set -- "$@" --customize-hook='rm -rf "$1"/usr/share/man/*'
# The mirror may lie behind a proxy.
proxy=$(apt-config dump 2>/dev/null | sed -n 's/^Acquire::http::Proxy "\(.*\)";$/\1/p')
[ -z "$proxy" ] || set -- "$@" --aptopt="Acquire::http::Proxy \"$proxy\""

# dpkg waits for the disk at each step: a small system is built in memory.
if [ "$size" = small ] && [ "$(df -Pk /dev/shm 2>/dev/null | awk 'NR==2 {print $4}')" -gt 2000000 ] 2>/dev/null; then
	export TMPDIR=/dev/shm
fi
mkdir -p "$(dirname "$out")"
part=$(dirname "$out")/.new-$$-$(basename "$out")
trap 'rm -f "$part"' EXIT
trap 'exit 130' INT TERM
echo "image: building $out: Debian $suite, $(echo "$packages" | tr , '\n' | wc -l) packages and what they need" >&2
if [ -n "$lines" ]; then
	printf '%s\n' "$lines" | mmdebstrap "$@" "$suite" "$part" -
else
	mmdebstrap "$@" "$suite" "$part"
fi
mv "$part" "$out"
echo "image: $out is $(du -h "$out" | cut -f1)" >&2
