#!/usr/bin/env bash
# The long forms of the tests. SOAK sets the time of each fuzz target, DROPS
# how often the connection is cut, KILLS how many processes are killed, FRAMES how many random frames are sent, SEQUENCES how many outputs
# the emulator draws, ROUNDS how often all tests of the terminal run.
set -euo pipefail
SOAK=${SOAK:-30m}
DROPS=${DROPS:-5000}
KILLS=${KILLS:-500}
FRAMES=${FRAMES:-10000000}
ROUNDS=${ROUNDS:-20}
SEQUENCES=${SEQUENCES:-10000000}

echo "== $DROPS forced drops, a random seed"
STAITHE_SOAK_DROPS=$DROPS go test -count=1 -v -timeout 12h -run 'TestForcedDrops' ./internal/e2e | grep -vE '^ *time='
echo "== $KILLS kills of gateways, guests, runtimes and ways out, a random seed"
STAITHE_SOAK_KILLS=$KILLS go test -count=1 -v -timeout 12h -run 'TestAbuse40_Chaos' ./internal/e2e | grep -vE '^ *time='
echo "== 200 kills of gateway and files helper under writes, uploads and moves, a random seed"
STAITHE_SOAK_FILE_KILLS=200 go test -count=1 -v -timeout 2h -run 'TestAbuse40_FilesUnderKills' ./internal/e2e | grep -vE '^ *time='
echo "== a file of 10 GiB"
STAITHE_SOAK_UPLOAD_MB=10240 go test -count=1 -v -timeout 2h -run 'TestLargeFilesTakeLittleMemory' ./internal/e2e | grep -vE '^ *time='
echo "== 200 kills of a restore, its server and its helper"
STAITHE_SOAK_KILLS=200 go test -count=1 -v -timeout 6h -run 'TestKilledWhile' ./internal/files ./internal/restore
echo "== 200 kills of a server that makes, verifies and prunes snapshots"
STAITHE_SOAK_KILLS=200 go test -count=1 -v -timeout 6h -run 'TestKilled' ./internal/volume/backup
echo "== all that a store can do wrong"
STAITHE_SOAK_STORE=1 go test -count=1 -v -timeout 2h -run 'TestTroubleOfTheStore' ./internal/volume/backup
echo "== twenty homes that are written to all the time"
STAITHE_SOAK_STEADY=20 go test -count=1 -v -timeout 1h -run 'TestSteadyHomes' ./internal/volume/backup | grep -vE '^ *time='
echo "== $SEQUENCES generated outputs, against xterm.js, in four tests"
go test -count=1 -v -timeout 24h -run 'TestReference' ./internal/vt -sequences $((SEQUENCES / 4)) -seed "$(date +%s)"
echo "== $FRAMES random frames"
STAITHE_SOAK_FRAMES=$FRAMES go test -count=1 -v -timeout 12h -run 'TestAbuse32_RandomFrames' ./internal/guest
STAITHE_SOAK_FOLDERS=50000 go test -count=1 -v -timeout 2h -run TestAManyFoldersCheckoutMissesNothing ./internal/files/watch # 200,000 paths
echo "== $ROUNDS rounds of every test, with the race detector"
go test -race -count="$ROUNDS" -timeout 12h ./internal/terminal ./internal/guest ./internal/muxclient ./internal/wire ./internal/replay
echo "== with the race detector, what make test runs without"
go test -race -timeout 12h ./internal/volume/backup ./internal/volume/restic ./internal/restore ./internal/vt
echo "== each fuzz target for $SOAK"
tools/fuzz.sh "$SOAK"
if command -v linux.uml >/dev/null; then
	echo "== cgroups v2 alone, under user-mode Linux"
	tools/cgroupv2.sh
else
	echo "NOT RUN: cgroups v2 alone: apt-get install user-mode-linux"
fi
