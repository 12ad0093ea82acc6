#!/bin/sh
# Runs each fuzz target for a time: fuzz.sh 3s
set -eu
time=${1:-3s}
grep -rlE '^func Fuzz' --include='*_test.go' internal | sort | while read -r file; do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file"); do
		printf '%s %s: ' "$(dirname "$file")" "$target"
		out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 100x "./$(dirname "$file")" 2>&1) || { echo "$out"; exit 1; }
		echo "$out" | tail -n 1
	done
done
