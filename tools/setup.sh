#!/bin/sh
# Installs what is missing: `setup.sh run` for building and running staithe,
# `setup.sh test` for its tests too, `setup.sh s3` for those with MinIO. As root it uses the package manager;
# otherwise it says the exact command.
set -eu

need_go="1.26.3"
need_node="20.19"

fail() { echo "setup: $*" >&2; exit 1; }

command -v go >/dev/null 2>&1 || fail "Go $need_go or newer is needed: install it from your distribution or go.dev, and put it in PATH."
command -v node >/dev/null 2>&1 || fail "Node.js $need_node or newer is needed: install it from your distribution or nodejs.org."
command -v npm >/dev/null 2>&1 || fail "npm is needed; it comes with Node.js."
go_version=$(go env GOVERSION | sed 's/^go//')
[ "$(printf '%s\n%s\n' "$need_go" "$go_version" | sort -V | head -n1)" = "$need_go" ] ||
	fail "Go $need_go or newer is needed; this is $go_version."
node_version=$(node -p process.versions.node)
[ "$(printf '%s\n%s\n' "$need_node" "$node_version" | sort -V | head -n1)" = "$need_node" ] ||
	fail "Node.js $need_node or newer is needed; this is $node_version."

packages=""
want() { packages="$packages $1"; }

command -v restic >/dev/null 2>&1 || want restic # makes the backups
command -v git >/dev/null 2>&1 || want git # says what is changed in a repository
command -v crun >/dev/null 2>&1 || command -v runc >/dev/null 2>&1 || want crun
if [ "$(id -u)" != 0 ]; then
	command -v newuidmap >/dev/null 2>&1 || want uidmap
fi
if [ "${1:-run}" = test ]; then
	# The tests run every runtime there is code for, and a real browser.
	command -v dockerd >/dev/null 2>&1 || want docker.io
	command -v podman >/dev/null 2>&1 || want podman
	for p in crun runc; do command -v "$p" >/dev/null 2>&1 || want "$p"; done
	command -v newuidmap >/dev/null 2>&1 || want uidmap
	command -v mmdebstrap >/dev/null 2>&1 || want mmdebstrap # an image for sandboxes
	command -v zstd >/dev/null 2>&1 || want zstd # reads the archives that we pack
	command -v chromium >/dev/null 2>&1 || want chromium
	for p in vim tmux htop less zsh fish; do command -v "$p" >/dev/null 2>&1 || want "$p"; done # drawn, and drawn again; shells that say where they are
	command -v ip >/dev/null 2>&1 || want iproute2 # the network's tests
	command -v nft >/dev/null 2>&1 || want nftables # the same
	command -v gcc >/dev/null 2>&1 || want gcc # the race detector links with it
	[ -e /usr/include/stdlib.h ] || want libc6-dev
fi

# gVisor is in no distribution: the tests of the class "hardened" build it. With
# cgo it does not start. That it cannot be built costs only those tests, which
# then say so.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/staithe
runsc_version=v0.0.0-20260905035102-160fafc42237
gvisor() {
	[ "${1:-run}" = test ] || return 0
	! command -v runsc >/dev/null 2>&1 && [ ! -x "$cache/bin/runsc" ] || return 0
	echo "setup: building runsc (gVisor); it takes some minutes, once"
	mkdir -p "$cache/bin"
	CGO_ENABLED=0 GOBIN="$cache/bin" GOFLAGS= go install "gvisor.dev/gvisor/runsc@$runsc_version" ||
		echo "setup: NOT TESTED: runsc could not be built; the tests with gVisor are skipped" >&2
}


# A real S3 server is in no distribution either: the tests of backups build it,
# and with `setup.sh s3` a second one, as a second opinion.
versitygw_version=v1.8.0
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
s3server() {
	case "${1:-run}" in
	test) name=versitygw path="github.com/versity/versitygw/cmd/versitygw@$versitygw_version" ;;
	s3) name=minio path="github.com/minio/minio@$minio_version" ;;
	*) return 0 ;;
	esac
	! command -v $name >/dev/null 2>&1 && [ ! -x "$cache/bin/$name" ] || return 0
	echo "setup: building $name, an S3 server for tests; it takes some minutes, once"
	mkdir -p "$cache/bin"
	CGO_ENABLED=0 GOBIN="$cache/bin" GOFLAGS= go install "$path" ||
		echo "setup: NOT TESTED: $name could not be built; the tests with it are skipped" >&2
}
built() { gvisor "$@"; s3server "$@"; }

[ -n "$packages" ] || { built "$@"; exit 0; }

if ! command -v apt-get >/dev/null 2>&1; then
	fail "these are missing; install them with your package manager:$packages"
fi
if [ "$(id -u)" != 0 ]; then
	fail "these are missing; run: sudo apt-get install -y$packages"
fi
echo "setup: installing$packages"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of names
apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1 || {
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $packages >/dev/null
}
built "$@"
