package idmap

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/station"
)

func TestSubordinateIDs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	text := "other:1:70000\n# a comment\nann:100000:100\nann:200000:65536\nbroken:x\n1234:300000:65536\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := subRange(file, "ann", 1); err != nil || r != (idRange{200000, 65536}) {
		t.Errorf("by name: %+v %v", r, err)
	}
	if r, err := subRange(file, "x", 1234); err != nil || r != (idRange{300000, 65536}) {
		t.Errorf("by number: %+v %v", r, err)
	}
	for _, f := range []string{file, file + "-missing"} {
		_, err := subRange(f, "nobody", 65534)
		var p *station.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Sentence, "usermod --add-subuids 100000-165535 nobody") {
			t.Errorf("%v", err)
		}
	}
	m := around(777, idRange{200000, 65536})
	if m[0].Outside != 200000 || m[0].Size != 1000 || m[1].Outside != 777 || m[1].Inside != 1000 || m[2].Inside != 1001 ||
		m[2].Outside != 201000 || m[2].Inside+m[2].Size != 65536 || m[2].Outside+m[2].Size > 265536 {
		t.Errorf("%+v", m)
	}
}
