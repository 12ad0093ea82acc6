package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/image"
	"staithe/internal/image/imagetest"
	"staithe/internal/station"
)

// TestMain lets the program be the unpacker of an account that is not root.
func TestMain(m *testing.M) {
	image.MaybeMapped()
	os.Exit(m.Run())
}

// run runs a command line and returns what it says on standard output.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := root()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(new(bytes.Buffer))
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// A real image goes in, is listed, is kept while a sandbox notes it as its base,
// and goes.
func TestImageCommands(t *testing.T) {
	tar := imagetest.Tar(t)
	data := filepath.Join(t.TempDir(), "data & more")
	out := mustRun(t, "image", "import", "--data", data, "deb", tar)
	if !strings.Contains(out, "image: deb\n") || !strings.Contains(out, "digest: sha256:") {
		t.Errorf("%q", out)
	}
	if out = mustRun(t, "image", "list", "--data", data); !strings.Contains(out, "deb ") || !strings.Contains(out, filepath.Base(tar)) {
		t.Errorf("%q", out)
	}
	s, err := image.Open(data, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check("deb"); err != nil {
		t.Error(err)
	}
	rootfs, err := s.Path("deb")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"usr/bin/apt-get", "usr/bin/sudo", "usr/bin/bash", "etc/debian_version"} {
		if _, err := os.Stat(filepath.Join(rootfs, path)); err != nil {
			t.Error(err)
		}
	}
	box := filepath.Join(data, "sandboxes", string(station.NewID()))
	if err := os.MkdirAll(box, 0o700); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(box, "image") // as internal/sandbox/oci notes it
	if err := os.WriteFile(record, []byte(rootfs), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "image", "remove", "--data", data, "deb"); !errors.Is(err, station.ErrConflict) {
		t.Errorf("removed under a sandbox: %v", err)
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	if out = mustRun(t, "image", "remove", "--data", data, "deb"); out != "removed: deb\n" {
		t.Errorf("%q", out)
	}
	if _, err := run(t, "image", "remove", "--data", data, "deb"); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func TestProgressWithoutATerminalIsALinePerStep(t *testing.T) {
	var out bytes.Buffer
	l := &progressLine{w: &out}
	for _, p := range []image.Progress{{Step: "downloading", Layer: 1, Layers: 2}, {Step: "downloading", Layer: 1, Layers: 2, Done: 5},
		{Step: "unpacking", Layer: 1, Layers: 2}, {Step: "writing to disk", Layer: 2, Layers: 2}} {
		l.show(p)
	}
	l.clear()
	if out.String() != "downloading layer 1 of 2\nunpacking layer 1 of 2\nwriting to disk\n" {
		t.Errorf("%q", out.String())
	}
}

// A limit that is none must not be taken for the usual one, nor run over.
func TestImageSizeLimitIsOne(t *testing.T) {
	for _, size := range []string{"0", "-1", "9223372037", "1000001"} {
		for _, args := range [][]string{{"import", "x", "/dev/null"}, {"pull", "x", "127.0.0.1:1/x"}} {
			_, err := run(t, append([]string{"image", args[0], "--data", t.TempDir(), "--max-size=" + size}, args[1:]...)...)
			var p *station.Problem
			if !errors.As(err, &p) || p.Code != "bad_size" {
				t.Errorf("%s %s: %v", args[0], size, err)
			}
		}
	}
}
