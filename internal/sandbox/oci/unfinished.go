package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/hostproc"
	"staithe/internal/station"
)

// engineGrace is how long an engine that outlives its gateway may go on. A start
// takes some 50 ms.
const engineGrace = 5 * time.Second

const notesName = "notes.json"

// notes are what a start writes down before its engine runs, so that the next
// gateway can finish what this one began.
type notes struct {
	Limits   station.Limits `json:"limits"`
	UIDRange int            `json:"uid_range"`
	Base     string         `json:"base"`
	Image    bool           `json:"image"` // the session is on an image
}

func writeNotes(dir string, n notes) error {
	b, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode notes: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, notesName), b, 0o600)
}

func readNotes(dir string) (n notes, err error) {
	b, err := os.ReadFile(filepath.Join(dir, notesName))
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	return n, err
}

// unfinished says whether the start of the sandbox in a folder has not come to
// its end, or that cannot be told.
func unfinished(dir string) bool {
	rec, err := readRecord(dir)
	return err != nil || rec.Unfinished
}

// finished notes that a start has come to its end.
func (r *Runtime) finished(id station.ID) error {
	rec, err := readRecord(r.dir(id))
	if err != nil {
		return err
	}
	rec.Unfinished = false
	r.watchLog(id)
	return rec.write(r.dir(id))
}

// adopt finishes the start of a sandbox that runs though its gateway was killed:
// it gets the limits that come after the engine, and a record. A network that it
// lacks is given to it by who manages those. What cannot be finished stays
// unfinished, and the next look tries again. A start of this process, which is
// under way, is left alone.
func (r *Runtime) adopt(ctx context.Context, id station.ID) {
	unlock, ok := r.locks.TryLock(id)
	if !ok {
		return
	}
	defer unlock()
	if !unfinished(r.dir(id)) {
		return
	}
	err := r.endEngines(id)
	rec, e := r.recordOf(ctx, id)
	if err = errors.Join(err, e); err == nil && !rec.Alive() {
		return // nothing runs: it is removed, not adopted
	}
	n, e := readNotes(r.dir(id))
	if e != nil && !errors.Is(e, fs.ErrNotExist) { // without any, the limits are those of a class that names none
		err = errors.Join(err, e)
	}
	if err == nil {
		err = r.limitAdopted(ctx, rec, newBounds(n.Limits))
	}
	if err == nil {
		rec.UIDRange, rec.Base, rec.Unenforced, rec.Unfinished = &n.UIDRange, n.Base, r.unenforced(n.Limits, n.Image), false
		err = rec.write(r.dir(id))
	}
	if err != nil {
		r.log.Warn("cannot finish a sandbox's start that was cut off", "session", id, "err", err)
		return
	}
	r.log.Info("finished a sandbox's start that was cut off", "session", id)
}

// limitAdopted does what finish does but for the network.
func (r *Runtime) limitAdopted(ctx context.Context, rec record, limits bounds) error {
	r.oom.start()
	if rec.Kind == runsc {
		return nil
	}
	if err := awaitOpen(rec.Process); err != nil {
		return err
	}
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return err
	}
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", rec.PID))
	if err != nil {
		return err
	}
	if its == own { // or the limits would be the host's
		return fmt.Errorf("process %d is in the host's user namespace", rec.PID)
	}
	if !r.cgroups.have[ctlPIDs] {
		if err := limitProcesses(rec.PID, limits.pids); err != nil {
			return err
		}
	}
	return limitNamespace(ctx, rec.PID, limits)
}

// endEngines waits for engines that work on a session still, as the gateway that
// started them was killed: what they make while it is removed would stay. One
// that does not come to an end is killed. The caller holds the session's lock, so
// that none is this process's own.
func (r *Runtime) endEngines(id station.ID) error {
	deadline := time.Now().Add(engineGrace)
	var errs []error
	for _, p := range r.enginesAt(id) {
		for p.Alive() && time.Now().Before(deadline) {
			<-time.After(5 * time.Millisecond)
		}
		if p.Alive() {
			r.log.Warn("the engine that a killed server left at work does not end; ending it", "session", id, "pid", p.PID)
			errs = append(errs, p.Kill(stopLimit))
		}
	}
	return errors.Join(errs...)
}

// enginesAt finds them by how they were called: with the session's name and the
// folder of its state.
func (r *Runtime) enginesAt(id station.ID) (out []hostproc.Process) {
	paths, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil || !r.isEngineAt(pid, id) {
			continue
		}
		if p, err := hostproc.Note(pid); err == nil && r.isEngineAt(pid, id) { // the same one, not another by its number
			out = append(out, p)
		}
	}
	return out
}

// isEngineAt says whether a process is an engine that makes or removes a
// session's sandbox. What runs in sandboxes may call itself anything, but is
// never root's where we are.
func (r *Runtime) isEngineAt(pid int, id station.ID) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(b), string(id)) {
		return false
	}
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d", pid), &st); err != nil || r.root && st.Uid != 0 {
		return false
	}
	argv := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	if !slices.Contains(argv, "run") && !slices.Contains(argv, "delete") || argv[len(argv)-1] != string(id) {
		return false
	}
	return slices.ContainsFunc(engineKinds, func(k engineKind) bool { return slices.Contains(argv, r.engineRoot(k, id)) })
}
