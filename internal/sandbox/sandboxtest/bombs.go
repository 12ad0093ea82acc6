package sandboxtest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Bombs lets a session use up each thing that there is an end of, as the person
// and as the sandbox's root: it suffers, its neighbour does not, and it can be
// ended to the last trace.
func Bombs(t *testing.T, open Open, able Abilities) {
	for _, root := range []bool{false, true} {
		t.Run(map[bool]string{false: "person", true: "root"}[root], func(t *testing.T) {
			spec := func() sandbox.Spec { return Spec(t, Home(t, 1), 1) }
			bombs(t, open, able, bomber{spec: spec, root: root})
		})
	}
}

// BombsOfRoot is Bombs by the root that a person can be in a class with sudo.
func BombsOfRoot(t *testing.T, open Open, able Abilities, rootfs string) {
	need(t, able.NoImage)
	need(t, able.NoSudo)
	spec := func() sandbox.Spec { return onImage(t, Home(t, 1), 1, rootfs, true) }
	bombs(t, open, able, bomber{spec: spec, up: true})
}

// bomber is who uses things up.
type bomber struct {
	spec func() sandbox.Spec
	data string
	root bool // the sandbox's root
	up   bool // the person, by sudo
}

func bombs(t *testing.T, open Open, able Abilities, who bomber) {
	data := t.TempDir()
	who.data = data
	rt := open(t, data)
	neighbour := start(t, rt, Spec(t, Home(t, 2), 2))
	for _, bomb := range []struct {
		name string
		off  func(t *testing.T, b *box, who bomber, able Abilities)
	}{
		{"forks", forkBomb}, {"memory", memoryBomb}, {"scratch", scratchBomb}, {"inodes", inodeBomb},
		{"terminals", ptyBomb}, {"inotify", inotifyBomb}, {"descriptors", fileBomb}, {"log", logBomb},
	} {
		t.Run(bomb.name, func(t *testing.T) {
			spec := who.spec()
			spec.Limits = station.Limits{Memory: 192 << 20, PIDs: 200, Files: 200, PTYs: 12, Inotify: 40, Scratch: 8 << 20}
			b := start(t, rt, spec)
			b.able, b.up = able, who.up
			want := map[bool]string{true: "0", false: b.person(t, able)}[who.root || who.up]
			if got := strings.TrimSpace(b.run(t, who.root, "/usr/bin/id", "-u").Out); got != want {
				t.Fatalf("the bomb would be set off as %s", got)
			}
			inside := b.processes(t, able)
			bomb.off(t, b, who, able)
			neighbour.sh(t, "echo fine | cat | cat > /tmp/fine && rm /tmp/fine")
			if err := rt.Stop(t.Context(), b.Session); err != nil {
				t.Fatal(err)
			}
			if able.LateService != "" { // it takes note of an end in its own time
				until(t, "nothing is left", func() bool { return len(inside()) == 0 && len(processesOf(t, b.Session)) == 0 })
			}
			if left := inside(); len(left) != 0 {
				t.Errorf("processes left: %v", left)
			}
			Traceless(t, data, b.Session)
		})
	}
}

func forkBomb(t *testing.T, b *box, who bomber, able Abilities) {
	need(t, able.NoPIDs)
	inside := b.processes(t, able)
	a := b.run(t, who.root, "/bin/sh", "-c", "i=0; while [ $i -lt 500 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done; echo all")
	if n := len(inside()); strings.Contains(a.Out, "all") || able.NoPID == "" && (n > 210 || n < 100) {
		t.Errorf("%d processes run; it said %.300q", n, a.Out)
	}
}

// memoryBomb: what takes too much is ended, the person can be told what it was,
// and the guest goes on.
func memoryBomb(t *testing.T, b *box, who bomber, able Abilities) {
	need(t, able.NoMemory)
	// tail keeps all of a line.
	const bomb = "head -c 500M /dev/zero | tail -n1 >/dev/null"
	if able.OOMEndsAll != "" {
		t.Log("on this provider: " + able.OOMEndsAll)
		b.try(who.root, bomb)
		until(t, "the sandbox ends", func() bool { info, _, err := b.rt.Find(t.Context(), b.Session); return err == nil && !info.Running })
		return
	}
	b.run(t, who.root, "/bin/sh", "-c", bomb)
	if err := b.health(); err != nil {
		t.Fatalf("the guest: %v", err)
	}
	if able.NoUsage != "" {
		return
	}
	if u := b.usage(t); u.OOMKills < 1 || u.Memory > b.Limits.Memory {
		t.Errorf("usage: %+v", u)
	}
	if able.NoOOMName != "" {
		t.Log("not on this provider: " + able.NoOOMName)
		return
	}
	until(t, "what was killed is named", func() bool { return strings.Contains(b.usage(t).LastOOMKill, "tail") })
}

// scratchBomb fills the file systems in memory.
func scratchBomb(t *testing.T, b *box, who bomber, able Abilities) {
	need(t, able.NoScratch)
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
		a := b.run(t, who.root, "/bin/sh", "-c", "head -c 64M /dev/zero > "+dir+"/full; stat -c %s "+dir+"/full; rm "+dir+"/full")
		lines := strings.Split(strings.TrimSpace(a.Out), "\n")
		if size, err := strconv.Atoi(lines[len(lines)-1]); err != nil || size > 8<<20 || size < 4<<20 {
			t.Errorf("%s held %s", dir, a.Out)
		}
	}
	if !who.root {
		return
	}
	// What only root writes to: 64 MiB, and on the host's account never more.
	a := b.run(t, true, "/bin/sh", "-c", "head -c 100M /dev/zero > /run/full; stat -c %s /run/full; rm /run/full")
	lines := strings.Split(strings.TrimSpace(a.Out), "\n")
	if size, err := strconv.Atoi(lines[len(lines)-1]); err != nil || size > 64<<20 {
		t.Errorf("/run held %s", a.Out)
	}
}

// inodeBomb makes empty files, which take memory of the kernel's.
func inodeBomb(t *testing.T, b *box, who bomber, able Abilities) {
	if able.NoInodes != "" { // it may end the sandbox
		t.Log("on this provider: " + able.NoInodes)
		b.try(who.root, b.guestInside(t)+" count files >/dev/null")
		return
	}
	if n := b.count(t, who.root, "files"); n > 4096 || n < 1000 {
		t.Errorf("%d files in /tmp", n)
	}
	if err := b.health(); err != nil {
		t.Errorf("the guest: %v", err)
	}
}

func ptyBomb(t *testing.T, b *box, who bomber, able Abilities) {
	need(t, able.NoPTYs)
	if n := b.count(t, who.root, "ptys"); n > 12 || n < 1 {
		t.Errorf("%d terminals", n)
	}
}

func inotifyBomb(t *testing.T, b *box, who bomber, able Abilities) {
	need(t, able.NoInotify)
	if n := b.count(t, who.root, "watches"); n != 40 {
		t.Errorf("%d inotify watches", n)
	}
	if n := b.count(t, who.root, "instances"); n < 1 || n > 200 {
		t.Errorf("%d inotify instances", n)
	}
}

func fileBomb(t *testing.T, b *box, who bomber, _ Abilities) {
	if a := b.run(t, who.root, "/bin/sh", "-c", "ulimit -n; ulimit -Hn; ulimit -Hn 100000 2>/dev/null && echo raised"); strings.TrimSpace(a.Out) != "200\n200" {
		t.Errorf("open files: %q", a.Out)
	}
}

// logBomb: nobody inside can write to the guest's log, and a guest that does so
// without end fills no disk. Its last words stay.
func logBomb(t *testing.T, b *box, who bomber, able Abilities) {
	for _, fd := range []string{"1", "2"} {
		b.denied(t, who.root, "open-write", "/proc/1/fd/"+fd)
	}
	need(t, able.NoLogBound)
	// 100 MB/s, for 5 s: a guest can write faster, but a busy machine may cut seconds late.
	const flood, bound, piece, every = 512 << 20, 384 << 20, 10 << 20, 100 * time.Millisecond
	ended := make(chan error, 1)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		var err error
		for n := 0; n < flood && err == nil; n += piece {
			<-tick.C
			err = b.floodLog(piece, "more")
		}
		ended <- errors.Join(err, b.floodLog(0, "last-words"))
	}()
	var most int64
	var flooded bool
	until(t, "the log is small again, with the guest's last words", func() bool {
		path := who.log(t, b)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, info.Size())
		select {
		case err := <-ended:
			if flooded = true; err != nil {
				t.Fatalf("the flood: %v", err)
			}
		default:
		}
		if !flooded || info.Size() > 5<<20 {
			return false
		}
		if text, err := os.ReadFile(path); err == nil && strings.HasSuffix(string(text), "last-words\n") {
			return true
		}
		if err := b.floodLog(0, "last-words"); err != nil { // what comes in the moment of a cut is lost
			t.Fatal(err)
		}
		return false
	})
	if t.Logf("the log grew to %d MiB, of %d", most>>20, flood>>20); most > bound {
		t.Errorf("the log grew to %d bytes", most)
	}
}

// floodLog has the guest write to its log.
func (b *box) floodLog(size int, last string) error {
	res, err := b.http.Post(fmt.Sprintf("http://guest/log?bytes=%d&last=%s", size, last), "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// log is where a provider keeps what a guest logs.
func (who bomber) log(t *testing.T, b *box) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(who.data, "*", string(b.Session), "guest.log"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("the log: %v %v", paths, err)
	}
	return paths[0]
}
