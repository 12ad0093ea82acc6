package sandboxtest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// patience bounds the wait for what takes milliseconds on an idle machine.
const patience = 30 * time.Second

// until asks again and again until ok, and fails when that never comes.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func (b *box) usage(t *testing.T) sandbox.Usage {
	t.Helper()
	u, err := b.rt.Usage(t.Context(), b.Session)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// usage: what is used shows.
func usage(t *testing.T, open Open, able Abilities) {
	rt := open(t, t.TempDir())
	if _, err := rt.Usage(t.Context(), station.NewID()); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("usage of nothing: %v", err)
	}
	b := start(t, rt, Spec(t, Home(t, 1), 1))
	before := b.usage(t)
	if able.NoUsage != "" {
		if before.CPU >= 0 || before.Memory >= 0 || before.PIDs >= 0 || before.OOMKills >= 0 {
			t.Errorf("what is not measured is not -1: %+v", before)
		}
	}
	need(t, able.NoUsage)
	const size = 16 << 20
	b.sh(t, "(head -c "+strconv.Itoa(size)+" /dev/zero; exec sleep 1000) 2>/dev/null | tail -n1 >/dev/null 2>&1 &  for i in 1 2 3 4; do sleep 1000 >/dev/null 2>&1 & done; setsid sh -c 'while :; do :; done' >/dev/null 2>&1 &")
	var now sandbox.Usage
	t.Cleanup(func() { t.Logf("before %+v, after %+v", before, now) })
	until(t, "usage grows", func() bool {
		now = b.usage(t)
		return now.CPU > before.CPU+50*time.Millisecond && now.Memory > before.Memory+size*3/4 && (able.NoPIDCount != "" || now.PIDs >= before.PIDs+5)
	})
	if u := b.usage(t); u.OOMKills > 0 || u.LastOOMKill != "" {
		t.Errorf("killed for want of memory: %+v", u)
	}
}

// memoryLimit: what takes too much is ended, the user can be told what it was,
// and the guest goes on.
func memoryLimit(t *testing.T, open Open, able Abilities) {
	need(t, able.NoMemory)
	spec := Spec(t, Home(t, 1), 1)
	spec.Limits.Memory = 96 << 20
	data := t.TempDir()
	rt := open(t, data)
	b := start(t, rt, spec)
	// tail keeps all of a line.
	const bomb = "head -c 300M /dev/zero | tail -n1 >/dev/null"
	if able.OOMEndsAll != "" {
		t.Log("on this provider: " + able.OOMEndsAll)
		neighbour := start(t, rt, Spec(t, Home(t, 2), 2))
		b.try(bomb)
		until(t, "the sandbox ends", func() bool { info, _, err := rt.Find(t.Context(), b.Session); return err == nil && !info.Running })
		neighbour.sh(t, "echo fine")
		if err := rt.Stop(t.Context(), b.Session); err != nil {
			t.Error(err)
		}
		Traceless(t, data, b.Session)
		return
	}
	b.run(t, false, "/bin/sh", "-c", bomb)
	if err := b.health(); err != nil {
		t.Fatalf("the guest: %v", err)
	}
	if able.NoUsage != "" {
		return
	}
	if u := b.usage(t); u.OOMKills < 1 || u.Memory > spec.Limits.Memory {
		t.Errorf("usage: %+v", u)
	}
	if able.NoOOMName != "" {
		t.Log("not on this provider: " + able.NoOOMName)
		return
	}
	until(t, "what was killed is named", func() bool { return strings.Contains(b.usage(t).LastOOMKill, "tail") })
}

// cpuLimit: two busy loops get no more than the quota. A busy machine gives
// less, so only the upper bound is looked at.
func cpuLimit(t *testing.T, open Open, able Abilities) {
	need(t, able.NoCPU)
	need(t, able.NoUsage)
	spec := Spec(t, Home(t, 1), 1)
	spec.Limits.CPU, spec.Limits.CPUWeight = 0.2, 50
	b := start(t, open(t, t.TempDir()), spec)
	b.sh(t, "for i in 1 2; do setsid sh -c 'while :; do :; done' >/dev/null 2>&1 & done")
	began, before := time.Now(), b.usage(t).CPU
	const work = 400 * time.Millisecond
	until(t, "it runs", func() bool { return b.usage(t).CPU >= before+work })
	if took := time.Since(began); took < work/2*5/2 {
		t.Errorf("%v of processor time in %v, with a fifth of a processor", work, took)
	}
}

// smallLimits: files, terminals, inotify, scratch.
func smallLimits(t *testing.T, open Open, able Abilities) {
	spec := Spec(t, Home(t, 1), 1)
	spec.Limits = station.Limits{Files: 200, PTYs: 12, Inotify: 40, Scratch: 8 << 20}
	b := start(t, open(t, t.TempDir()), spec)
	if got := b.sh(t, "ulimit -n; ulimit -Hn"); got != "200\n200" {
		t.Errorf("open files: %q", got)
	}
	if able.NoPTYs == "" {
		if n := b.count(t, "ptys"); n > 12 || n < 1 {
			t.Errorf("%d terminals", n)
		}
	}
	if able.NoInotify == "" {
		if n := b.count(t, "watches"); n != 40 {
			t.Errorf("%d inotify watches", n)
		}
	}
	if able.NoScratch == "" {
		for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
			a := b.run(t, false, "/bin/sh", "-c", "head -c 64M /dev/zero > "+dir+"/full; stat -c %s "+dir+"/full; rm "+dir+"/full")
			lines := strings.Split(strings.TrimSpace(a.Out), "\n")
			if size, err := strconv.Atoi(lines[len(lines)-1]); err != nil || size > 8<<20 || size < 4<<20 {
				t.Errorf("%s held %s", dir, a.Out)
			}
		}
	}
	for _, reason := range []string{able.NoPTYs, able.NoInotify, able.NoScratch} {
		if reason != "" {
			t.Log("not on this provider: " + reason)
		}
	}
}

// count lets the probe take as many of a thing as it gets.
func (b *box) count(t *testing.T, what string) int {
	t.Helper()
	a := b.run(t, false, b.guestInside(t), "count", what)
	n, err := strconv.Atoi(strings.TrimSpace(a.Out))
	if err != nil || a.Code != 0 {
		t.Fatalf("count %s: %+v", what, a)
	}
	return n
}
