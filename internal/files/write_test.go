package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWriteConditions(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	put := func(content string, o WriteOptions) (Entry, error) {
		o.Size, o.ETag = int64(len(content)), true
		return b.Write(ctx, "f", strings.NewReader(content), o)
	}
	_, err := put("x", WriteOptions{IfMatch: `"none"`})
	want(t, err, "file_changed")
	one, err := put("one", WriteOptions{IfNone: true})
	want(t, err, "")
	_, err = put("two", WriteOptions{IfNone: true})
	want(t, err, "file_exists")
	two, err := put("two", WriteOptions{IfMatch: one.ETag})
	want(t, err, "")
	_, err = put("lost", WriteOptions{IfMatch: one.ETag})
	want(t, err, "file_changed")
	b.put("f", "six") // a shell, in place
	_, err = put("lost", WriteOptions{IfMatch: two.ETag})
	want(t, err, "file_changed")
	if b.get("f") != "six" || len(b.staged()) != 0 {
		t.Errorf("%q, staging %q", b.get("f"), b.staged())
	}
	want(t, b.write("none/f", "x"), "no_file")
	want(t, b.write(".local", "x"), "is_a_folder")
}

// A shell that replaces the file between the look at the condition and the
// exchange keeps what it wrote.
func TestExchangeGoesBack(t *testing.T) {
	b := newBench(t)
	b.put("f", "meant")
	b.put(string(stagingDir)+"/tmp", "ours")
	dir, base, err := b.place("f")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	stage, _, err := b.stage()
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Close()
	old, err := lstat(dir, base)
	if err != nil {
		t.Fatal(err)
	}
	b.put("g", "a shell's")
	if err := os.Rename(filepath.Join(b.dir, "g"), filepath.Join(b.dir, "f")); err != nil {
		t.Fatal(err)
	}
	st, err := lstat(dir, base)
	if err != nil {
		t.Fatal(err)
	}
	want(t, exchange(int(stage.Fd()), "tmp", dir, base, &old, etag(st)), "file_changed")
	if got := b.get("f"); got != "a shell's" {
		t.Errorf("%q", got)
	}
}

// Of many who replace one content, one does, and nobody's write is lost unseen.
func TestWriteRace(t *testing.T) {
	b := newBench(t)
	for range 5 {
		b.put("f", "start")
		e, err := b.Stat(t.Context(), "f")
		if err != nil {
			t.Fatal(err)
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, err := b.Write(t.Context(), "f", strings.NewReader(fmt.Sprint(i)), WriteOptions{Size: 1, IfMatch: e.ETag})
				if err == nil {
					won.Add(1)
				} else {
					want(t, err, "file_changed")
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d won", won.Load())
		}
	}
}

// Whoever reads while it is written sees the old content or the new, whole.
func TestWriteIsWholeOrNot(t *testing.T) {
	b := newBench(t)
	contents := []string{strings.Repeat("a", 300_000), strings.Repeat("b", 200_000)}
	b.put("f", contents[0])
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 30 {
			if err := b.write("f", contents[i%2]); err != nil {
				t.Error(err)
			}
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		if c := b.get("f"); c != contents[0] && c != contents[1] {
			t.Fatalf("%d bytes beginning with %.1q", len(c), c)
		}
	}
}

func TestWriteKeepsWhatTheFileHad(t *testing.T) {
	b := newBench(t)
	b.put("f", "old")
	path := filepath.Join(b.dir, "f")
	if err := os.Chmod(path, 0o751); err != nil {
		t.Fatal(err)
	}
	attrs := unix.Setxattr(path, "user.note", []byte("kept"), 0) == nil
	if !attrs {
		t.Log("no user attributes on this file system: that part is not tested")
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 1234, 1235); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Write(t.Context(), "f", strings.NewReader("new"), WriteOptions{Size: 3, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&0o7777 != 0o751 || b.get("f") != "new" {
		t.Errorf("%o %q %v", st.Mode, b.get("f"), err)
	}
	if os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 1235) {
		t.Errorf("owner is %d:%d", st.Uid, st.Gid)
	}
	value := make([]byte, 8)
	if n, err := unix.Getxattr(path, "user.note", value); attrs && (err != nil || string(value[:n]) != "kept") {
		t.Errorf("attribute: %q %v", value, err)
	}
	e, err := b.Write(t.Context(), "g", strings.NewReader(""), WriteOptions{Size: 0, Mode: 0o600, MTime: time.Unix(1_600_000_000, 0)})
	if err != nil || e.Mode != 0o600 || e.MTime.Unix() != 1_600_000_000 {
		t.Errorf("%+v %v", e, err)
	}
}
