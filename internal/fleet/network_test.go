package fleet_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"staithe/internal/egress"
	"staithe/internal/fleet"
	"staithe/internal/station"
	"staithe/internal/volume"
)

// fakeNetwork knows which ways out run, and counts what is asked of it.
type fakeNetwork struct {
	mu     sync.Mutex
	live   map[station.ID]bool // false: something is left of it
	starts int
	broken error  // of each Start
	onList func() // called before each List, may be nil
}

func (n *fakeNetwork) Start(_ context.Context, spec egress.Spec) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.starts++
	n.live[spec.Session] = true
	return n.broken
}

func (n *fakeNetwork) Stop(_ context.Context, id station.ID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.live, id)
	return nil
}

func (n *fakeNetwork) List(context.Context) (out []egress.Info, err error) {
	if n.onList != nil {
		n.onList()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, running := range n.live {
		out = append(out, egress.Info{Session: id, Running: running})
	}
	return out, nil
}

func (n *fakeNetwork) Status(_ context.Context, id station.ID) (egress.Status, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.live[id] {
		return egress.Status{}, station.ErrNotFound
	}
	return egress.Status{}, nil
}

// connected is a server whose class reaches the internet, with one session that
// runs and whose way out has ended.
func connected(t *testing.T) (*fleet.Fleet, *fakeStore, *fakeNetwork, station.Session) {
	t.Helper()
	st := &fakeStore{}
	rt := &fakeRuntime{serve: honest(st), frozen: map[station.ID]bool{}}
	net := &fakeNetwork{live: map[station.ID]bool{}}
	f := newFleetOver(t, st, rt, fleet.Options{Network: net,
		Classes: class(func(c *station.Class) { c.Network.Mode = station.NetworkInternet })})
	s, err := f.Create(t.Context(), "useruseruser", "main", "")
	if err != nil {
		t.Fatal(err)
	}
	net.live[s.ID], net.starts = false, 0
	return f, st, net, s
}

func TestALostNetworkIsStartedAnew(t *testing.T) {
	f, st, net, s := connected(t)
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := st.Session(t.Context(), s.ID)
	if err != nil || net.starts != 1 || got.Notice.Code != "network_restarted" {
		t.Errorf("started %d times, notice %+v, %v", net.starts, got.Notice, err)
	}
	// What a brake says is how it is known again, and stays.
	brake := station.Notice{Code: "home_full", Text: "Your home is full."}
	if !volume.IsBrake(brake.Code) {
		t.Fatal("no brake says this")
	}
	if err := st.SetNotice(t.Context(), s.ID, brake); err != nil {
		t.Fatal(err)
	}
	net.live[s.ID] = false
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err = st.Session(t.Context(), s.ID); err != nil || net.starts != 2 || got.Notice.Code != brake.Code {
		t.Errorf("started %d times, notice %+v, %v", net.starts, got.Notice, err)
	}
}

func TestAnotherServersNetworkIsLeftAlone(t *testing.T) {
	f, st, net, _ := connected(t)
	const other station.ID = "othersession"
	net.live = map[station.ID]bool{other: false}
	net.onList = func() { // begun after this server read the records
		st.mu.Lock()
		defer st.mu.Unlock()
		st.sessions = append(st.sessions, station.Session{ID: other, Name: "other", Class: "standard", State: station.StateStarting})
		st.lease(other, "anotherserve", time.Now().Add(time.Hour))
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, there := net.live[other]; !there {
		t.Error("what another server had begun was ended")
	}
}

// Whether the network is attached beside the guest's start or before it, a start
// that cannot have it leaves nothing, and one that can returns with it.
func TestAStartHasItsNetworkOrIsNone(t *testing.T) {
	for _, pid := range []int{0, 77} {
		st := &fakeStore{}
		rt := &fakeRuntime{serve: honest(st), frozen: map[station.ID]bool{}, pid: pid}
		net := &fakeNetwork{live: map[station.ID]bool{}, broken: errors.New("no way out")}
		f := newFleetOver(t, st, rt, fleet.Options{Network: net,
			Classes: class(func(c *station.Class) { c.Network.Mode = station.NetworkInternet })})
		if _, err := f.Create(t.Context(), "useruseruser", "main", ""); !errors.Is(err, net.broken) {
			t.Errorf("pid %d: %v", pid, err)
		}
		if len(st.sessions) != 0 || len(net.live) != 0 || len(rt.live) != 0 {
			t.Errorf("pid %d: left are %v %v %v", pid, st.sessions, net.live, rt.live)
		}
		net.broken = nil
		s, err := f.Create(t.Context(), "useruseruser", "main", "")
		if err != nil || !net.live[s.ID] {
			t.Errorf("pid %d: %v, networks %v", pid, err, net.live)
		}
	}
}
