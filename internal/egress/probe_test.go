package egress_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/egress"
	"staithe/internal/station"
)

// A program that cannot make the interfaces says why, and the sentence what to
// do.
func TestProbeSaysWhatToDo(t *testing.T) {
	for says, fix := range map[string]string{
		"make the interface: operation not supported": "modprobe veth",
		"make the interface: operation not permitted": "--privileged",
	} {
		program := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(program, []byte("#!/bin/sh\necho '"+says+"'\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		err := egress.Probe(t.Context(), program)
		var p *station.Problem
		if !errors.Is(err, station.ErrUnavailable) || !errors.As(err, &p) || !strings.Contains(p.Sentence, says) || !strings.Contains(p.Sentence, fix) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if err := egress.Probe(t.Context(), "/no/such/program"); !errors.Is(err, station.ErrUnavailable) {
		t.Error(err)
	}
}
