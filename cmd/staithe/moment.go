package main

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"staithe/internal/station"
)

var (
	idText  = regexp.MustCompile(`^[0-9a-f]{8,64}$`)
	agoText = regexp.MustCompile(`^(\d{1,6}) *(s|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?|months?|years?)( ago)?$`)
)

// chooseSnapshot finds the snapshot that a person means: latest, an id, or the
// last one that was made at or before a moment.
func chooseSnapshot(snaps []station.Snapshot, text string, now time.Time) (station.Snapshot, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	var best *station.Snapshot
	if idText.MatchString(text) {
		for i, s := range snaps {
			if strings.HasPrefix(text, s.ID) || strings.HasPrefix(s.ID, text) {
				best = &snaps[i]
			}
		}
		if best == nil {
			return station.Snapshot{}, station.Errorf(station.ErrNotFound, "no_snapshot", "There is no snapshot %s; `staithe restore` lists them.", text)
		}
		return *best, nil
	}
	at, err := parseMoment(text, now)
	if err != nil {
		return station.Snapshot{}, err
	}
	for i, s := range snaps {
		if !s.At.After(at) && (best == nil || s.At.After(best.At)) {
			best = &snaps[i]
		}
	}
	if best == nil {
		return station.Snapshot{}, station.Errorf(station.ErrNotFound, "no_snapshot",
			"There is no snapshot from before %s; `staithe restore` lists them.", at.Local().Format("2006-01-02 15:04:05"))
	}
	return *best, nil
}

// parseMoment reads a time as people say it. A day means its end.
func parseMoment(text string, now time.Time) (time.Time, error) {
	switch text {
	case "", "latest", "now":
		return now.Add(24 * time.Hour), nil // the server's clock may be ahead
	case "yesterday":
		y, m, d := now.Date()
		return time.Date(y, m, d, 0, 0, 0, -1, now.Location()), nil
	}
	if m := agoText.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err == nil {
			return ago(now, n, m[2]), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02t15:04", "2006-01-02"} {
		t, err := time.ParseInLocation(layout, strings.ToUpper(text), now.Location())
		if err != nil {
			t, err = time.ParseInLocation(layout, text, now.Location())
		}
		switch {
		case err != nil:
			continue
		case layout == "2006-01-02":
			return t.AddDate(0, 0, 1).Add(-1), nil
		case layout == "2006-01-02 15:04" || layout == "2006-01-02t15:04":
			return t.Add(time.Minute - 1), nil
		}
		return t, nil
	}
	return time.Time{}, station.Errorf(station.ErrInvalid, "bad_moment",
		`%q is no moment; say latest, an id, "2 hours ago", yesterday, 2026-11-29, or "2026-11-29 14:03".`, printable(text))
}

func ago(now time.Time, n int, unit string) time.Time {
	switch {
	case strings.HasPrefix(unit, "month"):
		return now.AddDate(0, -n, 0)
	case unit[0] == 's':
		return now.Add(-time.Duration(n) * time.Second)
	case unit[0] == 'm':
		return now.Add(-time.Duration(n) * time.Minute)
	case unit[0] == 'h':
		return now.Add(-time.Duration(n) * time.Hour)
	case unit[0] == 'd':
		return now.AddDate(0, 0, -n)
	case unit[0] == 'w':
		return now.AddDate(0, 0, -7*n)
	}
	return now.AddDate(-n, 0, 0)
}
