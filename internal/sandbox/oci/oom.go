package oci

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// maxVictims bounds what is remembered: one name per session.
const maxVictims = 4096

// oomWatch remembers, for each session, which process the kernel ended last for
// want of memory. Only the kernel's log says so, and only root may read that. It
// is safe for concurrent use.
type oomWatch struct {
	log  *slog.Logger
	root bool

	mu      sync.Mutex
	file    *os.File              // nil: not started
	closed  bool                  // starts no more
	victims map[station.ID]string // "python3 (pid 412)"
	done    chan struct{}         // closed when the reader ended
}

// start begins to read the kernel's log, once; it is cheap to call again.
func (w *oomWatch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file != nil || w.closed || !w.root {
		return
	}
	// Non-blocking: the runtime waits for it, and Close wakes the reader.
	f, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		w.closed = true
		w.log.Info("what runs out of memory will not be named: the kernel's log cannot be read", "err", err)
		return
	}
	w.file, w.victims, w.done = f, map[station.ID]string{}, make(chan struct{})
	go w.read(f)
}

// last names the session's last victim, empty where that is not known.
func (w *oomWatch) last(session station.ID) string {
	w.start()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.victims[session]
}

func (w *oomWatch) forget(session station.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.victims, session)
}

func (w *oomWatch) close() {
	w.mu.Lock()
	f := w.file
	w.file, w.closed = nil, true
	w.mu.Unlock()
	if f != nil {
		f.Close()
		<-w.done
	}
}

// read takes the log line by line until it is closed.
func (w *oomWatch) read(f *os.File) {
	defer close(w.done)
	buf := make([]byte, 8<<10) // the kernel gives one record at a time, whole
	for {
		n, err := f.Read(buf)
		if errors.Is(err, unix.EPIPE) {
			continue // records were overwritten before they were read
		}
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				w.log.Warn("reading the kernel's log ended", "err", err)
			}
			return
		}
		if session, victim, ok := parseOOM(buf[:n]); ok {
			w.note(session, victim)
		}
	}
}

func (w *oomWatch) note(session station.ID, victim string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.victims) >= maxVictims {
		clear(w.victims)
	}
	w.victims[session] = victim
}

// parseOOM finds a victim in a record of the kernel's log:
//
//	6,1234,5678,-;oom-kill:constraint=CONSTRAINT_MEMCG,…,task_memcg=/staithe/SESSION,task=python3,pid=412,uid=1001000
//
// The name is the process's own choice; it stands after the cgroup's path, so it
// cannot forge that.
func parseOOM(record []byte) (session station.ID, victim string, ok bool) {
	_, text, ok := bytes.Cut(record, []byte(";oom-kill:constraint=CONSTRAINT_MEMCG,"))
	if !ok {
		return "", "", false
	}
	line, _, _ := strings.Cut(string(text), "\n")
	_, rest, ok := strings.Cut(line, ",task_memcg=")
	if !ok {
		return "", "", false
	}
	cgroup, rest, ok := strings.Cut(rest, ",task=")
	at := strings.LastIndex(rest, ",pid=")
	if !ok || at < 0 || path.Base(path.Dir(cgroup)) != cgroupParent {
		return "", "", false
	}
	session = station.ID(path.Base(cgroup))
	name := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, rest[:at])
	pid, _, _ := strings.Cut(rest[at+len(",pid="):], ",")
	if inside := insidePID(pid); inside > 0 {
		name = fmt.Sprintf("%s (pid %d)", name, inside)
	}
	return session, name, session.Valid()
}

// insidePID is a host pid as the innermost namespace sees it; 0 when the process
// is gone already, which is to be expected of a victim.
func insidePID(pid string) int {
	if _, err := strconv.Atoi(pid); err != nil {
		return 0
	}
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(b), "\nNSpid:")
	if !ok {
		return 0
	}
	line, _, _ := strings.Cut(rest, "\n")
	pids := strings.Fields(line)
	if len(pids) < 2 || pids[0] != pid {
		return 0
	}
	n, _ := strconv.Atoi(pids[len(pids)-1]) // the kernel's own number
	return n
}
