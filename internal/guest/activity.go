package guest

import (
	"net/http"
	"os"
	"sync"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/terminal"
)

// sampleEvery is the shortest time between two looks at the processes; who asks
// sooner gets what was seen last. Nothing is looked at unasked: an idle session
// costs nothing.
const sampleEvery = time.Second

// sampler says what the sandbox's processes use, from the difference between
// two looks at /proc.
type sampler struct {
	proc     string // "/proc"
	uid, gid int    // whose processes they are

	mu   sync.Mutex
	last sample
	said guestapi.Activity
}

// activity answers how the session is used.
func (g *Guest) activity(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	if id.Tab != "" {
		return station.Errorf(station.ErrForbidden, "forbidden", "This identity is for one tab alone.")
	}
	a := g.sampler.ask(time.Now())
	a.KeepAwake = g.wishes.next(r.URL.Query().Get("seen"), time.Now())
	g.mu.Lock()
	a.Clients = len(g.conns)
	g.mu.Unlock()
	answer(w, http.StatusOK, a)
	return nil
}

// ask looks, and says what was used since the look before. The first look can
// say nothing of rates.
func (s *sampler) ask(now time.Time) guestapi.Activity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last.at) < sampleEvery {
		return s.said
	}
	terminal.AsUser(s.uid, s.gid, func() {
		next := look(s.proc, now)
		a := guestapi.Activity{Processes: len(next.procs)}
		if elapsed := next.at.Sub(s.last.at).Seconds(); !s.last.at.IsZero() {
			a.CPU = s.busiest(next, func(p process) float64 { return p.cpu(s.last, next) / elapsed })
			a.Disk = s.busiest(next, func(p process) float64 { return p.disk(s.last) / elapsed })
			a.Network = s.network(next, elapsed)
		}
		s.last, s.said = next, a
	})
	return s.said
}

// busiest names the process with the highest rate, nil when all are at rest.
func (s *sampler) busiest(now sample, rate func(process) float64) *guestapi.Busy {
	var best process
	most := 0.0
	for _, p := range now.procs {
		if r := rate(p); r > most || r == most && most > 0 && p.pid < best.pid {
			best, most = p, r
		}
	}
	if most == 0 {
		return nil
	}
	return &guestapi.Busy{PID: best.pid, Name: commandName(s.proc, best), Rate: most}
}

// network is what the sandbox's interfaces carried, and whose it most likely is.
func (s *sampler) network(now sample, elapsed float64) *guestapi.Busy {
	if now.network <= s.last.network {
		return nil
	}
	b := &guestapi.Busy{Rate: float64(now.network-s.last.network) / elapsed}
	if b.Rate < 1<<10 { // not worth asking whose
		return b
	}
	if pid := mostConnected(s.proc, now); pid > 0 {
		b.PID, b.Name = pid, commandName(s.proc, now.procs[pid])
	}
	return b
}

// hertz is the unit of times in /proc, the same on all of Linux's machines
// (USER_HZ).
const hertz = 100

// cpu is the seconds of processor time that a process used between two looks,
// with those of its children that it has waited for and that were not seen.
func (p process) cpu(before, now sample) float64 {
	old, known := before.procs[p.pid]
	if !known || old.start != p.start {
		old = process{}
	}
	kids := int64(p.kids - old.kids)
	for _, c := range before.procs {
		if c.parent == p.pid && now.procs[c.pid].start != c.start {
			kids -= int64(c.self + c.kids) // was counted as its own
		}
	}
	return float64(int64(p.self-old.self)+max(kids, 0)) / hertz
}

// disk is the bytes that a process read from and wrote to disks since a look.
func (p process) disk(before sample) float64 {
	old, known := before.procs[p.pid]
	if !known || old.start != p.start || p.io < old.io {
		old = process{}
	}
	return float64(p.io - old.io)
}

// newSampler samples this sandbox.
func newSampler(cfg guestapi.Config) *sampler {
	return &sampler{proc: "/proc", uid: cfg.UID, gid: cfg.GID}
}

// self is never counted: the guest works only when it is asked to.
var self = os.Getpid()
