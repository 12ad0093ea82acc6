package oci

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Usage measures a sandbox; see sandbox.Runtime. It waits for no operation.
//
// What programs write reaches a disk later, and on cgroups v1 is on nobody's
// account then. So Write is what they wrote by their own counters where that is
// more; what a program wrote that nobody waited for is missing from those, so
// that Write can become less.
func (r *Runtime) Usage(ctx context.Context, session station.ID) (sandbox.Usage, error) {
	u := sandbox.Usage{CPU: -1, Memory: -1, PIDs: -1, Read: -1, Write: -1, OOMKills: -1}
	if !session.Valid() {
		return u, notRunning()
	}
	rec, err := r.recordOf(ctx, session)
	if err != nil {
		return u, err
	}
	if !rec.Alive() {
		return u, notRunning()
	}
	u.LimitsHonest = rec.Unenforced
	r.cgroups.measure(session, &u)
	if n := written(r.cgroups.pids(session)); n > 0 {
		u.Write = max(u.Write, n)
	}
	if rec.Kind == runsc {
		u.PIDs = -1 // the sentry's threads say nothing of what runs inside
	}
	if u.OOMKills > 0 {
		u.LastOOMKill = r.oom.last(session)
	}
	return u, nil
}

// measure fills in what the session's cgroups know.
func (c cgroups) measure(session station.ID, u *sandbox.Usage) {
	if c.layout == cgroupNone {
		return
	}
	if c.have[ctlPIDs] {
		if n, ok := readNumber(c.dir(ctlPIDs, session) + "/pids.current"); ok {
			u.PIDs = int(n)
		}
	}
	if c.layout == cgroupV2 {
		measureV2(c.dir(ctlCPU, session), u)
	} else {
		c.measureV1(session, u)
	}
}

// pids lists the host pids of a sandbox; none where it has no cgroup.
func (c cgroups) pids(session station.ID) []int {
	for _, ctl := range []controller{ctlPIDs, ctlFreeze} {
		if c.have[ctl] {
			return cgroupPIDs(c.dir(ctl, session))
		}
	}
	return nil
}

// written is how many bytes programs had disks written, also those that ended and
// were waited for by one of them (proc(5), /proc/PID/io). It is counted as soon
// as they write, and not for what they keep in memory alone.
func written(pids []int) (n int64) {
	for _, pid := range pids {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/io")
		if err != nil {
			continue // it ended meanwhile, or is not ours to look at
		}
		if _, rest, ok := strings.Cut(string(b), "\nwrite_bytes: "); ok {
			line, _, _ := strings.Cut(rest, "\n")
			n += number(line, true)
		}
	}
	return n
}

func measureV2(dir string, u *sandbox.Usage) {
	if n, ok := readKey(dir+"/cpu.stat", "usage_usec"); ok {
		u.CPU = time.Duration(n) * time.Microsecond
	}
	if n, ok := readNumber(dir + "/memory.current"); ok {
		cache, _ := readKey(dir+"/memory.stat", "inactive_file") // missing: none can go
		u.Memory = max(n-cache, 0)
	}
	if n, ok := readKey(dir+"/memory.events", "oom_kill"); ok {
		u.OOMKills = n
	}
	if b, err := os.ReadFile(dir + "/io.stat"); err == nil {
		u.Read, u.Write = 0, 0
		for field := range strings.FieldsSeq(string(b)) {
			u.Read += number(strings.CutPrefix(field, "rbytes="))
			u.Write += number(strings.CutPrefix(field, "wbytes="))
		}
	}
}

func (c cgroups) measureV1(session station.ID, u *sandbox.Usage) {
	if n, ok := readNumber(filepath.Join(c.root, "cpuacct", c.parent, string(session), "cpuacct.usage")); ok {
		u.CPU = time.Duration(n)
	}
	memory := c.dir(ctlMemory, session)
	if n, ok := readNumber(memory + "/memory.usage_in_bytes"); ok {
		cache, _ := readKey(memory+"/memory.stat", "total_inactive_file")
		u.Memory = max(n-cache, 0)
	}
	if n, ok := readKey(memory+"/memory.oom_control", "oom_kill"); ok {
		u.OOMKills = n
	}
	// "254:0 Read 4096"
	if b, err := os.ReadFile(c.dir(ctlIO, session) + "/blkio.throttle.io_service_bytes"); err == nil {
		u.Read, u.Write = 0, 0
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) != 3 {
				continue // the total
			}
			switch f[1] {
			case "Read":
				u.Read += number(f[2], true)
			case "Write":
				u.Write += number(f[2], true)
			}
		}
	}
}

// number is text as a number, 0 where there is none.
func number(text string, there bool) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if !there || err != nil {
		return 0
	}
	return n
}

func readNumber(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// readKey finds "key value" among a file's lines.
func readKey(path, key string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
