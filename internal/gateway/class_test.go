package gateway

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"staithe/internal/auth"
	"staithe/internal/station"
)

func withClasses(list ...ClassState) setting {
	return func(o *Options, _ *timing) { o.Classes = func(context.Context) []ClassState { return list } }
}

func TestClasses(t *testing.T) {
	standard := station.Class{Name: "standard", Base: "host", Boundary: "a container", Disk: 5,
		Limits:  station.Limits{CPU: 1.5, CPUWeight: 2, Memory: 3, PIDs: 4, Files: 5, PTYs: 6, Inotify: 7, IOWeight: 8, Scratch: 9},
		Network: station.NetworkPolicy{Mode: station.NetworkAllowList, Allow: []string{"example.org:443"}},
		Idle:    station.IdleRule{Freeze: time.Minute, Stop: 90 * time.Minute}}
	open := station.Class{Name: "open", Runtime: "process", Base: "host", Boundary: "none", Network: station.NetworkPolicy{Mode: station.NetworkNone}}
	hardened := station.Class{Name: "hardened", Runtime: "runsc", Base: "host", Boundary: "gVisor", Network: station.NetworkPolicy{Mode: station.NetworkNone}}
	b := newBench(t, withClasses(ClassState{Class: standard, Isolated: true, Default: true}, ClassState{Class: open},
		ClassState{Class: hardened, Isolated: true, Why: "runsc is not installed."}))
	root := b.admin()
	narrow, _ := root.token(auth.ScopeTerminal)
	for _, who := range []*browser{root, narrow} {
		var got []Class
		if err := json.Unmarshal(who.must(200, "GET", "/api/v1/classes", nil).body, &got); err != nil || len(got) != 3 {
			t.Fatalf("%v %+v", err, got)
		}
		s := got[0]
		if s.Name != "standard" || s.Runtime != "auto" || s.Boundary != "a container" || s.Disk != 5 || !s.Isolated || !s.Default || !s.Available || s.Why != "" ||
			s.Limits != (ClassLimits{1.5, 2, 3, 4, 5, 6, 7, 8, 9}) || s.Idle != (ClassIdle{60, 5400}) ||
			s.Network.Mode != "allow-list" || len(s.Network.Allow) != 1 {
			t.Errorf("%+v", s)
		}
		if o := got[1]; o.Isolated || o.Default || !o.Available || o.Network.Allow == nil || o.Idle.Stop != 0 {
			t.Errorf("%+v", o)
		}
		if h := got[2]; h.Available || h.Why != "runsc is not installed." || h.Runtime != "runsc" {
			t.Errorf("%+v", h)
		}
	}
	b.browser().must(401, "GET", "/api/v1/classes", nil)
}

func TestNoClassesIsAnEmptyList(t *testing.T) {
	if got := string(newBench(t).admin().must(200, "GET", "/api/v1/classes", nil).body); got[0] != '[' {
		t.Error(got)
	}
}
