package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"staithe/internal/hostproc"
)

// tusOrder is what web/tools/tus-upload.mjs is told to do.
type tusOrder struct {
	Endpoint  string    `json:"endpoint"`
	Token     string    `json:"token"`
	Files     []tusFile `json:"files"`
	Chunk     int64     `json:"chunk,omitempty"`
	Parallel  int       `json:"parallel,omitempty"`
	AbortAt   *int64    `json:"abortAt,omitempty"`
	StopAt    *int64    `json:"stopAt,omitempty"`
	Terminate bool      `json:"terminate,omitempty"`
	Storage   string    `json:"storage,omitempty"`
}

type tusFile struct {
	File    string `json:"file"`
	Path    string `json:"path"`
	Mode    string `json:"mode,omitempty"`
	MTime   string `json:"mtime,omitempty"`
	Replace string `json:"replace,omitempty"`
}

type tusEvent struct {
	Event   string
	Path    string
	URL     string
	Entry   string
	Bytes   int64
	Status  int
	Message string
}

// tusRun is tus-js-client at work.
type tusRun struct {
	t       testing.TB
	process *os.Process
	events  chan tusEvent
	seen    map[string]int // events, by name
}

// state is a process's state as /proc has it, such as 'T' for one that is stopped;
// 0 when it is gone.
func state(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if _, after, ok := strings.Cut(string(stat), ") "); err == nil && ok {
		return after[0]
	}
	return 0
}

// tus has npm's tus-js-client upload.
func (s *server) tus(t testing.TB, o tusOrder) *tusRun {
	t.Helper()
	if _, err := os.Stat("../../web/tools/node_modules/tus-js-client"); err != nil {
		t.Skip("SKIP(tus): tus-js-client is not there; run `make web/tools/node_modules/.package-lock.json`")
	}
	o.Endpoint, o.Token = s.base+"/api/v1/workstation/uploads", s.token
	in, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "tus-upload.mjs")
	cmd.Dir, cmd.Stdin, cmd.Stderr = "../../web/tools", bytes.NewReader(in), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &tusRun{t: t, process: cmd.Process, events: make(chan tusEvent, 1<<16), seen: map[string]int{}}
	go func() {
		defer close(r.events)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			var e tusEvent
			if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
				e = tusEvent{Event: "error", Message: sc.Text()}
			}
			r.events <- e
		}
		if err := cmd.Wait(); err != nil {
			r.events <- tusEvent{Event: "error", Message: err.Error()}
		}
	}()
	t.Cleanup(func() { cmd.Process.Kill() })
	return r
}

// until waits for an event of a name, and with so many bytes; "" is the end.
func (r *tusRun) until(name string, bytes int64) tusEvent {
	r.t.Helper()
	deadline := time.After(120 * time.Second)
	for {
		select {
		case e, ok := <-r.events:
			if !ok {
				if name != "" {
					r.t.Fatalf("tus-js-client ended before %q: %v", name, r.seen)
				}
				return e
			}
			r.seen[e.Event]++
			if e.Event == "error" && name != "error" {
				r.t.Fatalf("tus-js-client: %+v", e)
			}
			if e.Event == name && e.Bytes >= bytes {
				return e
			}
		case <-deadline:
			r.t.Fatalf("%q did not come: %v", name, r.seen)
		}
	}
}

// home is where ada's home is on this host.
func (s *server) home() string {
	s.t.Helper()
	homes, err := filepath.Glob(filepath.Join(s.data, "homes", "*"))
	if err != nil || len(homes) != 1 {
		s.t.Fatalf("%v %v", homes, err)
	}
	return homes[0]
}

// killHelpers is kill -9 of the files helpers. It says how many there were.
func (s *server) killHelpers() (n int) {
	s.t.Helper()
	records, err := filepath.Glob(filepath.Join(s.data, "files", "*", "record.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path := range records {
		rec, err := hostproc.ReadRecord[hostproc.Process](path)
		if err == nil && syscall.Kill(rec.PID, syscall.SIGKILL) == nil {
			n++
		}
	}
	return n
}

// made writes a file of random bytes.
func made(t testing.TB, dir, name string, size int) string {
	t.Helper()
	b := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{byte(size), byte(len(name))})
	if _, err := rnd.Read(b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// arrived compares a file in the home with what was sent.
func (s *server) arrived(path, file string) {
	s.t.Helper()
	got, err := os.ReadFile(filepath.Join(s.home(), path))
	if err != nil {
		s.t.Error(err)
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		s.t.Errorf("%s is not what was sent: %d bytes of %d", path, len(got), len(want))
	}
}

// absent wants that there is nothing of a name, and no upload under way.
func (s *server) absent(path string) {
	s.t.Helper()
	if _, err := os.Lstat(filepath.Join(s.home(), path)); err == nil {
		s.t.Errorf("%s is there", path)
	}
}

func (s *server) staged() (bytes []string) {
	s.t.Helper()
	all, err := filepath.Glob(filepath.Join(s.home(), ".local/share/staithe/staging/uploads/*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range all {
		if !strings.HasSuffix(name, ".json") {
			bytes = append(bytes, name)
		}
	}
	return bytes
}

func TestTusClient(t *testing.T) {
	s := serve(t)
	dir := t.TempDir()
	large, empty := made(t, dir, "large", 20<<20+7), made(t, dir, "empty", 0)
	t.Run("plain", func(t *testing.T) {
		r := s.tus(t, tusOrder{Files: []tusFile{{File: large, Path: "a/b/plain é%0A", Mode: "0750", MTime: "2021-02-03T04:05:06Z"}, {File: empty, Path: "empty"}}})
		var entry string
		for range 2 {
			if e := r.until("done", 0); e.Path != "empty" {
				entry = e.Entry
			}
		}
		r.until("", 0)
		s.arrived("a/b/plain é\n", large)
		s.arrived("empty", empty)
		info, err := os.Stat(filepath.Join(s.home(), "a/b/plain é\n"))
		if err != nil || info.Mode() != 0o750 || !info.ModTime().Equal(time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)) || !strings.Contains(entry, `"mode":488`) {
			t.Errorf("%v %v %s", info, err, entry)
		}
	})
	t.Run("chunked", func(t *testing.T) {
		s.tus(t, tusOrder{Chunk: 1 << 20, Files: []tusFile{{File: large, Path: "chunked"}}}).until("done", 0)
		s.arrived("chunked", large)
	})
	t.Run("parts of one file in parallel", func(t *testing.T) {
		s.tus(t, tusOrder{Parallel: 4, Files: []tusFile{{File: large, Path: "parts"}}}).until("done", 0)
		s.arrived("parts", large)
	})
	t.Run("many files in parallel", func(t *testing.T) {
		var o tusOrder
		for i := range 40 {
			o.Files = append(o.Files, tusFile{File: made(t, dir, fmt.Sprintf("many/%d", i), i*1000), Path: fmt.Sprintf("many/%d/%d", i%7, i)})
		}
		r := s.tus(t, o)
		for range o.Files {
			r.until("done", 0)
		}
		for _, f := range o.Files {
			s.arrived(f.Path, f.File)
		}
	})
	t.Run("a name that is taken", func(t *testing.T) {
		other := made(t, dir, "other", 1000)
		r := s.tus(t, tusOrder{Files: []tusFile{{File: other, Path: "chunked"}}})
		if e := r.until("retry", 0); e.Status != 409 || !strings.Contains(e.Message, "file_exists") {
			t.Errorf("%+v", e)
		}
		s.arrived("chunked", large)
		s.tus(t, tusOrder{Files: []tusFile{{File: other, Path: "chunked", Replace: "yes"}}}).until("done", 0)
		s.arrived("chunked", other)
		s.arrived(".local/share/Trash/files/chunked", large)
	})
	t.Run("cancelled", func(t *testing.T) {
		at := int64(3 << 20)
		r := s.tus(t, tusOrder{Chunk: 1 << 20, AbortAt: &at, Terminate: true, Files: []tusFile{{File: large, Path: "cancelled"}}})
		r.until("aborted", 0)
		r.until("", 0)
		s.absent("cancelled")
		if left := s.staged(); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
	})
	t.Run("paused, and gone on with by another program", func(t *testing.T) {
		at, storage := int64(5<<20), filepath.Join(dir, "storage.json")
		o := tusOrder{Chunk: 1 << 20, AbortAt: &at, Storage: storage, Files: []tusFile{{File: large, Path: "paused"}}}
		r := s.tus(t, o)
		r.until("aborted", 0)
		r.until("", 0)
		s.absent("paused")
		o.AbortAt = nil
		r = s.tus(t, o)
		r.until("resumed", 0)
		if e := r.until("progress", 0); e.Bytes < 3<<20 {
			t.Errorf("began at %d again", e.Bytes)
		}
		r.until("done", 0)
		s.arrived("paused", large)
	})
}

// TestTusClientSurvivesKills: gateway and helper are killed in the middle of an
// upload; the client comes back and goes on where it was.
func TestTusClientSurvivesKills(t *testing.T) {
	s := serve(t)
	large := made(t, t.TempDir(), "large", 96<<20)
	for _, k := range []struct {
		name string
		kill func()
	}{
		{"gateway", func() { s.kill(); s.again() }},
		{"helper", func() {
			if s.killHelpers() == 0 {
				t.Error("there was no helper")
			}
		}},
		{"both", func() { s.kill(); s.killHelpers(); s.again() }},
	} {
		t.Run(k.name, func(t *testing.T) {
			at := int64(20 << 20)
			r := s.tus(t, tusOrder{Chunk: 64 << 20, StopAt: &at, Files: []tusFile{{File: large, Path: k.name}}})
			r.until("progress", at)
			s.until("the client stands still", func() bool { return state(r.process.Pid) == 'T' })
			k.kill()
			if err := r.process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			r.until("done", 0)
			if r.seen["retry"] == 0 {
				t.Errorf("the kill came too late: %v", r.seen)
			}
			s.arrived(k.name, large)
		})
	}
}
