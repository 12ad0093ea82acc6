#!/bin/sh
# Runs each fuzz target for a time: fuzz.sh 3s
#
# Those of $long only for minutes or hours: what they find is no fault of the commit
# that they run on, and their seeds are run as tests.
set -eu
time=${1:-3s}
long=FuzzReference
grep -rlE '^func Fuzz' --include='*_test.go' internal | sort | while read -r file; do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file"); do
		case $time in *m | *h) ;; *) [ "$target" != "$long" ] || continue ;; esac
		printf '%s %s: ' "$(dirname "$file")" "$target"
		out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 100x "./$(dirname "$file")" 2>&1) || { echo "$out"; exit 1; }
		echo "$out" | tail -n 1
	done
done
