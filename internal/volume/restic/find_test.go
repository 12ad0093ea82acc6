package restic

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLookTellsTargetsAndOnlyWhatWasAsked(t *testing.T) {
	r, _ := open(t)
	home := t.TempDir()
	try(t, os.MkdirAll(filepath.Join(home, "a/b"), 0o755))
	try(t, os.WriteFile(filepath.Join(home, "a/b/f"), []byte("text"), 0o600))
	try(t, os.Symlink("b/f\nx", filepath.Join(home, "a/l")))
	try(t, os.WriteFile(filepath.Join(home, "a*"), nil, 0o600))
	try(t, os.WriteFile(filepath.Join(home, "bad\xff"), nil, 0o600))
	try(t, r.Init(t.Context()))
	sum, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "w"}, nil)
	try(t, err)
	for path, want := range map[string]string{
		"a":         "a,a/b,a/b/f,a/l",
		"a/b/f":     "a/b/f",
		"a*":        "a*",
		"bad\xff":   "bad\uFFFD",
		"bad\uFFFD": "bad\uFFFD",
		"nothing":   "",
	} {
		var got []string
		err := r.Look(t.Context(), sum.ID, path, func(f Found) error {
			got = append(got, f.Path)
			if f.Path == "a/l" && f.Target != "b/f\nx" || f.Path == "a/b/f" && (f.Size != 4 || f.Type != "file" || f.MTime.IsZero()) {
				t.Errorf("%+v", f)
			}
			return nil
		})
		if slices.Sort(got); err != nil || strings.Join(got, ",") != want {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
	all := 0
	if err := r.Look(t.Context(), sum.ID, ".", func(Found) error { all++; return nil }); err != nil || all != 7 {
		t.Errorf("%d in all, %v", all, err)
	}
}

func FuzzParseFound(f *testing.F) {
	f.Add(`[{"matches":[{"path":"/home/a","type":"file","mode":420,"size":3,"mtime":"2026-11-29T05:29:51Z"}],"hits":1,"snapshot":"x"}]`)
	f.Add(`[]`)
	f.Add(`[{"hits":0,"matches":null}]`)
	f.Fuzz(func(t *testing.T, text string) {
		_ = parseFound(strings.NewReader(text), func(found Found) error {
			if strings.HasPrefix(found.Path, "/") {
				t.Errorf("a path from the top: %q", found.Path)
			}
			return nil
		})
	})
}
