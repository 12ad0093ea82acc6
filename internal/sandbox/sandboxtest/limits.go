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

// openFiles: the limit holds from the first program on. (What else is limited is
// tried by Bombs.)
func openFiles(t *testing.T, open Open, able Abilities) {
	spec := Spec(t, Home(t, 1), 1)
	spec.Limits.Files = 200
	fileBomb(t, start(t, open(t, t.TempDir()), spec), bomber{}, able)
}

// count lets the probe take as many of a thing as it gets.
func (b *box) count(t *testing.T, root bool, what string) int {
	t.Helper()
	a := b.run(t, root, b.guestInside(t), "count", what)
	n, err := strconv.Atoi(strings.TrimSpace(a.Out))
	if err != nil || a.Code != 0 {
		t.Fatalf("count %s: %+v", what, a)
	}
	return n
}
