package guestapi

import (
	"testing"
	"time"
)

// What is too short to mean anything must not be taken for the end of it.
func TestParseKeepAwake(t *testing.T) {
	for text, want := range map[string]time.Duration{"2h": 2 * time.Hour, "90m": 90 * time.Minute, "1s": time.Second, "off": 0, "0": 0, "0s": 0} {
		if d, err := ParseKeepAwake(text); err != nil || d != want {
			t.Errorf("%s: %v %v", text, d, err)
		}
	}
	for _, text := range []string{"", "5", "500ms", "1ns", "-2h", "on", "2 h", "\x1b[2J"} {
		if d, err := ParseKeepAwake(text); err == nil {
			t.Errorf("%q: %v", text, d)
		}
	}
}
