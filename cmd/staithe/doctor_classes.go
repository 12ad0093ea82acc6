package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"staithe/internal/config"
	"staithe/internal/egress"
	"staithe/internal/image"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/oci"
	"staithe/internal/station"
)

// advice is what sessions can do without: what is not well is said with what
// would make it better, and fails nothing.
func (d *doctor) advice() []sandbox.Check {
	data := d.cfg.Data
	if _, err := os.Stat(data); err != nil {
		data = os.TempDir() // nothing is there to look beside
	}
	all := oci.Advice(data)
	for i := range all {
		all[i].OK = true
	}
	return all
}

// network tries to make a session's way out, with the program in a temporary
// directory. It keeps what it found for the classes.
func (d *doctor) network(ctx context.Context) (string, error) {
	d.wayOut = tryWayOut(ctx)
	if d.wayOut != nil {
		return "", d.wayOut
	}
	return "a way out with its own addresses can be made", nil
}

func tryWayOut(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "staithe-doctor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := installEgress(dir)
	if err != nil {
		return err
	}
	return egress.Probe(ctx, program)
}

// wantsNetwork says whether a class that somebody asked for has a network.
func wantsNetwork(cfg config.Config) bool {
	for _, c := range cfg.Classes {
		if !c.BuiltIn && c.Network != "none" && c.Network != config.NetworkAuto {
			return true
		}
	}
	return false
}

// classes says of each class whether its sessions can be made. One that comes
// with the server and that nobody chose may be missing.
func (d *doctor) classes(ctx context.Context) {
	kinds, err := classes(d.cfg, d.wayOut == nil)
	if err != nil {
		d.hop(ctx, "classes", func(context.Context) (string, error) { return "", err })
		return
	}
	check := classChecker(readImages(d.cfg.Data), d.wayOut)
	for i, class := range kinds {
		failed := firstFailed(check(class))
		name := "class " + class.Name
		switch {
		case failed == nil:
			d.line(sandbox.Check{Name: name, OK: true, Detail: classLine(class)})
		case d.cfg.Classes[i].BuiltIn && class.Name != d.cfg.DefaultClass:
			fmt.Fprintf(d.out, "- %s: not offered: %s; to have it: %s\n", name, failed.Detail, failed.Fix)
		default:
			d.line(sandbox.Check{Name: name, Detail: failed.Name + ": " + failed.Detail, Fix: failed.Fix})
		}
	}
}

// classLine is a class in a few words.
func classLine(c station.Class) string {
	memory := "memory without a limit"
	if c.Limits.Memory > 0 {
		memory = config.FormatSize(c.Limits.Memory) + " memory"
	}
	runtime := c.Runtime
	if runtime == "" {
		runtime = "the default runtime"
	}
	words := []string{runtime, "base " + c.Base, memory, "network " + string(c.Network.Mode)}
	if c.Runtime == runtimeProcess {
		words = append(words, "NO ISOLATION")
	}
	return strings.Join(words, ", ")
}

func firstFailed(checks []sandbox.Check) *sandbox.Check {
	for _, c := range checks {
		if !c.OK {
			return &c
		}
	}
	return nil
}

// readImages opens the images of a data directory, and makes none: nil when
// there are none.
func readImages(data string) *image.Store {
	if _, err := os.Stat(filepath.Join(data, "images")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s, err := image.Open(data, image.Options{})
	if err != nil {
		return nil
	}
	return s
}
