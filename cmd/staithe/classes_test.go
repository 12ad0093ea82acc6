package main

import (
	"bytes"
	"flag"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"staithe/internal/config"
	"staithe/internal/station"
)

func load(t *testing.T, args ...string) config.Config {
	t.Helper()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	l := config.Register(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	cfg, err := l.Load(func(name string) string { return map[string]string{"HOME": "/home/ada"}[name] })
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func find(t *testing.T, list []station.Class, name string) station.Class {
	t.Helper()
	i := slices.IndexFunc(list, func(c station.Class) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no class %s in %+v", name, list)
	}
	return list[i]
}

// Every field of a setting reaches the class.
func TestClassesOfTheSettings(t *testing.T) {
	cfg := load(t, "--class", "big.runtime=runc", "--class", "big.base=debian", "--class", "big.cpu=2", "--class", "big.cpu-weight=3",
		"--class", "big.memory=4g", "--class", "big.pids=50", "--class", "big.files=600", "--class", "big.ptys=7", "--class", "big.inotify=8",
		"--class", "big.io-weight=9", "--class", "big.scratch=10m", "--class", "big.disk=11g", "--class", "big.sudo=yes",
		"--class", "big.network=allow-list", "--class", "big.allow=*.example.net:443, 10.0.0.0/8", "--class", "big.idle-freeze=12s", "--class", "big.idle-stop=13m")
	list, err := classes(cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	want := station.Class{Name: "big", Runtime: "runc", Base: "debian", Disk: 11 << 30, Sudo: true,
		Limits:  station.Limits{CPU: 2, CPUWeight: 3, Memory: 4 << 30, PIDs: 50, Files: 600, PTYs: 7, Inotify: 8, IOWeight: 9, Scratch: 10 << 20},
		Network: station.NetworkPolicy{Mode: station.NetworkAllowList, Allow: []string{"*.example.net:443", "10.0.0.0/8"}},
		Idle:    station.IdleRule{Freeze: 12 * time.Second, Stop: 13 * time.Minute}}
	got := find(t, list, "big")
	if got.Network.Mode != want.Network.Mode || !slices.Equal(got.Network.Allow, want.Network.Allow) {
		t.Errorf("network %+v", got.Network)
	}
	got.Network, want.Network = station.NetworkPolicy{}, station.NetworkPolicy{}
	if got.Name != want.Name || got.Runtime != want.Runtime || got.Base != want.Base || got.Disk != want.Disk || got.Sudo != want.Sudo ||
		got.Limits != want.Limits || got.Idle != want.Idle {
		t.Errorf("%+v, want %+v", got, want)
	}
	if mode := find(t, list, "standard").Network.Mode; mode != station.NetworkInternet {
		t.Errorf("auto with a way out is %s", mode)
	}
	none, err := classes(cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	if mode := find(t, none, "standard").Network.Mode; mode != station.NetworkNone {
		t.Errorf("auto without a way out is %s", mode)
	}
	if mode := find(t, none, "big").Network.Mode; mode != station.NetworkAllowList {
		t.Errorf("what was asked for is never changed, it is %s", mode)
	}
}

func TestClassesThatCannotBe(t *testing.T) {
	for _, c := range []struct{ set, says string }{
		{"root.sudo=yes", "image"},
		{"ci.allow=EXAMPLE.org", "lower-case"},
		{"ci.allow=example.org:99999", "port"},
		// The list is not what holds here: all of the internet would be open.
		{"ci.allow=example.org", "allow-list"},
		{"ci.allow=10.0.0.1, *.example.org:443", "allow-list"},
	} {
		for _, wayOut := range []bool{true, false} {
			if _, err := classes(load(t, "--class", c.set), wayOut); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want it to say %q", c.set, err, c.says)
			}
		}
	}
	for _, set := range []string{"ci.allow=10.0.0.1, 10.0.0.0/8, [fd00::1]:80, 10.0.0.2:443"} {
		if _, err := classes(load(t, "--class", set), true); err != nil {
			t.Errorf("%s: %v", set, err)
		}
	}
}

// process is only ever there by name, and then the log says so.
func TestProcessIsNeverByAccident(t *testing.T) {
	for _, c := range []struct {
		args   []string
		warned []string
	}{
		{nil, nil},
		{[]string{"--runtime", "crun"}, nil},
		{[]string{"--class", "dev.runtime=process"}, []string{"class=dev"}},
		{[]string{"--runtime", "process"}, []string{"class=standard"}},
	} {
		list, err := classes(load(t, c.args...), false)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		warnUnisolated(slog.New(slog.NewTextHandler(&log, nil)), list)
		if lines := strings.Count(log.String(), "no isolation"); lines != len(c.warned) {
			t.Errorf("%v: %d warnings\n%s", c.args, lines, &log)
		}
		for _, w := range c.warned {
			if !strings.Contains(log.String(), w) {
				t.Errorf("%v: no %s in\n%s", c.args, w, &log)
			}
		}
	}
}
