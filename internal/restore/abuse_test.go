package restore

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/station"
)

// outside is all that is beside the home.
func (b *bench) outside() map[string]string {
	b.t.Helper()
	out := map[string]string{}
	for _, dir := range []string{b.data, "/etc", "/tmp"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range entries {
			if strings.Contains(e.Name(), "pwned") {
				out[filepath.Join(dir, e.Name())] = "is there"
			}
		}
	}
	return out
}

// harmless checks that nothing in the home is more than it may be.
func (b *bench) harmless() {
	b.t.Helper()
	if out := b.outside(); len(out) > 0 {
		b.t.Errorf("outside: %v", out)
	}
	err := filepath.WalkDir(b.home, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if m := info.Mode(); m&(fs.ModeDevice|fs.ModeSocket|fs.ModeSetuid) != 0 || m.IsRegular() && m&fs.ModeSetgid != 0 {
			b.t.Errorf("%q is %v", p, m)
		}
		return nil
	})
	if err != nil {
		b.t.Error(err)
	}
}

// Whoever has the key can write any snapshot. Restoring it hurts nothing outside
// of the home, and makes nothing in it that has rights.
func TestAbuse26_ForgedSnapshots(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	target := t.TempDir()
	b.put("mine", "untouched")
	forge := func(nodes func(f *forger) []node) string {
		f := b.forger()
		return f.snapshot(nodes(f)...)
	}
	for name, nodes := range map[string]func(f *forger) []node{
		"plain": func(f *forger) []node { return []node{f.file("good", "good")} },
		"names": func(f *forger) []node {
			return []node{f.file("good", "good"), f.file("../../../../pwned", "x"), f.file("/etc/pwned", "x"), folder("..", f.tree(f.file("pwned", "x")))}
		},
		"symlink through": func(f *forger) []node {
			return []node{f.file("good", "good"), {"name": "sneak", "type": "symlink", "mode": 1<<27 | 0o777, "linktarget": target},
				folder("sneak", f.tree(f.file("pwned", "x")))}
		},
		"symlink to the repository": func(f *forger) []node {
			return []node{f.file("good", "good"), {"name": "sneak", "type": "symlink", "mode": 1<<27 | 0o777, "linktarget": "/repository"},
				folder("sneak", f.tree(f.file("config", "x")))}
		},
		"rights": func(f *forger) []node {
			suid := f.file("suid", "#!/bin/sh\n")
			suid["mode"], suid["uid"], suid["gid"] = uint32(fs.ModeSetuid|fs.ModeSetgid)|0o755, 0, 0
			return []node{f.file("good", "good"), suid,
				{"name": "disk", "type": "dev", "mode": uint32(fs.ModeDevice) | 0o666, "device": 0x0800},
				{"name": "kmem", "type": "chardev", "mode": uint32(fs.ModeDevice|fs.ModeCharDevice) | 0o666, "device": 0x0102}}
		},
		"hard link out": func(f *forger) []node {
			one, two := f.file("one", "x"), f.file("two", "x")
			one["links"], one["inode"], one["device_id"] = 2, 7, 1
			two["links"], two["inode"], two["device_id"] = 2, 7, 1
			return []node{f.file("good", "good"), one, two}
		},
	} {
		for _, q := range []station.RestoreRequest{{Path: ".", Where: "beside"}, {Path: ".", Where: "in_place"}, {Path: "sneak/pwned", Where: "in_place"}} {
			if q.Path != "." && name != "symlink through" {
				continue
			}
			snapshot := forge(nodes)
			r, err := b.Start(t.Context(), b.user, snapshot, q)
			if err == nil {
				r = b.ended(r.ID)
			}
			t.Logf("%s, %+v: %s %s %v", name, q, r.State, r.Trouble, err)
			if name == "plain" && r.State != "done" {
				t.Errorf("what is no attack is %+v, %v", r, err)
			}
			if b.get("mine") != "untouched" {
				t.Errorf("%s: the home's own file was changed", name)
			}
			b.harmless()
			if entries, err := os.ReadDir(target); err != nil || len(entries) > 0 {
				t.Errorf("%s: through the link there is %v, %v", name, entries, err)
			}
		}
	}
	if err := b.repo.Check(t.Context(), ""); err != nil {
		t.Log("the repository, as expected of a forged one: ", err)
	}
	if _, err := b.repo.Snapshots(t.Context()); err != nil {
		t.Errorf("the repository was hurt: %v", err)
	}
}

// A file that is said to have three bytes and has two gigabytes does not fill the
// disk.
func TestAbuse26_BombInASnapshot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.forger()
	bomb := f.file("bomb", strings.Repeat("\x01", 4<<20))
	blob := bomb["content"].([]string)[0]
	content := make([]string, 512)
	for i := range content {
		content[i] = blob
	}
	bomb["content"], bomb["size"] = content, 3
	var many []node
	for _, name := range strings.Split("abcdefghijklmnop", "") {
		n := node{}
		for k, v := range bomb {
			n[k] = v
		}
		n["name"] = name
		many = append(many, n)
	}
	snapshot := f.snapshot(many...)
	before, err := b.volumes.Space()
	if err != nil {
		t.Fatal(err)
	}
	r := b.restore(snapshot, station.RestoreRequest{Path: ".", Where: "beside"})
	t.Logf("%+v", r)
	if r.State != "failed" {
		t.Errorf("%+v", r)
	}
	after, err := b.volumes.Space()
	if err != nil || before.Free-after.Free > 1<<30 { // others use this disk as well
		t.Errorf("%d bytes are gone, %v", before.Free-after.Free, err)
	}
	if entries, err := os.ReadDir(filepath.Join(b.data, "homes")); err != nil || len(entries) != 1 {
		t.Errorf("beside the home there is %v, %v", entries, err)
	}
}
