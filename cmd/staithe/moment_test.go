package main

import (
	"testing"
	"time"

	"staithe/internal/station"
)

func TestChooseSnapshot(t *testing.T) {
	now := time.Date(2026, 11, 29, 14, 3, 30, 0, time.UTC)
	snaps := []station.Snapshot{ // newest first, as the server lists them
		{ID: "00000005", At: now.Add(-time.Minute)},
		{ID: "00000004", At: now.Add(-2*time.Hour - time.Minute)},
		{ID: "00000003", At: now.AddDate(0, 0, -1)},
		{ID: "00000002", At: now.AddDate(0, 0, -8)},
		{ID: "00000001", At: now.AddDate(0, -3, 0)},
	}
	for text, want := range map[string]string{
		"latest": "00000005", "": "00000005", "00000002": "00000002", "2 hours ago": "00000004", "2h": "00000004",
		"90m": "00000004", "yesterday": "00000003", "1 week ago": "00000002", "2 months ago": "00000001",
		"2026-11-28": "00000003", "2026-11-28 14:03": "00000003", "2026-11-28 14:02": "00000002", "2026-11-29T12:02:30Z": "00000004",
	} {
		got, err := chooseSnapshot(snaps, text, now)
		if err != nil || got.ID != want {
			t.Errorf("%q is %q, %v; not %q", text, got.ID, err, want)
		}
	}
	for _, text := range []string{"a year ago", "1 year ago", "deadbeef", "2026-13-01", "--help", "\x1b[2J"} {
		if got, err := chooseSnapshot(snaps, text, now); err == nil {
			t.Errorf("%q is %q", text, got.ID)
		}
	}
}

func FuzzMoment(f *testing.F) {
	for _, s := range []string{"2 hours ago", "999999 years ago", "2026-11-29 14:03", "yesterday"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 29, 14, 3, 30, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		at, err := parseMoment(text, now)
		if err == nil && agoText.MatchString(text) && at.After(now) {
			t.Errorf("%q is in the future: %v", text, at)
		}
	})
}
