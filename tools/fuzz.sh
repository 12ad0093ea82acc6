#!/bin/sh
# Runs each fuzz target for a time: fuzz.sh 3s
#
# Those of $long only for minutes or hours: what they find is no fault of the commit
# that they run on, and their seeds are run as tests.
#
# A run whose time is over may fail by that alone (golang/go#75804, mended in Go 1.27):
# it wrote no input that fails, and is done once more.
set -eu
time=${1:-3s}
long=FuzzReference
grep -rlE '^func Fuzz' --include='*_test.go' internal | sort | while read -r file; do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file"); do
		case $time in *m | *h) ;; *) [ "$target" != "$long" ] || continue ;; esac
		printf '%s %s: ' "$(dirname "$file")" "$target"
		run() { go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 100x "./$(dirname "$file")" 2>&1; }
		if ! out=$(run); then
			echo "$out"
			case $out in *'Failing input'* | *panic:*) exit 1 ;; *'context deadline exceeded'*) ;; *) exit 1 ;; esac
			out=$(run) || { echo "$out"; exit 1; }
		fi
		echo "$out" | tail -n 1
	done
done
