package rootlesstest

import "strings"

// skipped is a test that was not run, and what it said of it.
type skipped struct{ test, why string }

// results reads what go test -v prints: how many tests passed, subtests not
// counted, and what was skipped. What a test prints stands under its last
// "=== RUN", "=== CONT" or "=== NAME".
func results(out string) (passed int, skips []skipped) {
	said, now := map[string][]string{}, ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "=== "); ok {
			if f := strings.Fields(name); len(f) == 2 {
				now = f[1]
			}
			continue
		}
		verdict, ok := strings.CutPrefix(text, "--- ")
		if !ok {
			said[now] = append(said[now], text)
			continue
		}
		kind, name, _ := strings.Cut(verdict, ": ")
		name, _, _ = strings.Cut(name, " (")
		switch {
		case kind == "PASS" && line == text:
			passed++
		case kind == "SKIP":
			skips = append(skips, skipped{name, strings.Join(said[name], "\n")})
		}
	}
	return passed, skips
}
