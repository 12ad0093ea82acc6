package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"staithe/internal/station"
)

// explain fills in what is said but not stored: when a session was used last,
// why it is awake, and that its class is gone.
func (f *Fleet) explain(s station.Session) station.Session {
	s.WhyAwake = ""
	c, known := f.classes.find(s.Class)
	if !known && s.Notice.Code == "" {
		s.Notice = station.Notice{Code: "class_gone", At: s.CreatedAt,
			Text: fmt.Sprintf("The class %s of this session is not in the server's configuration any more; it cannot be started until it is back.", s.Class)}
	}
	if s.KeepAwakeUntil.Before(f.now()) {
		s.KeepAwakeUntil = time.Time{}
	}
	if s.State != station.StateRunning {
		return s
	}
	s.ActiveAt = f.activeAt(s)
	s.WhyAwake = f.why(s, c)
	return s
}

// why says in words what keeps a running session awake.
func (f *Fleet) why(s station.Session, c station.Class) string {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.watched[s.ID]
	if w == nil {
		w = &watched{activeAt: s.ActiveAt}
	}
	if reasons := w.told(s, now); len(reasons) > 0 {
		return strings.Join(reasons, "; ")
	}
	if c.Idle.Freeze == 0 {
		return "it runs until you put it to sleep"
	}
	used := "it was used just now"
	if idle := now.Sub(w.activeAt); idle >= time.Minute {
		used = "it was used " + span(idle) + " ago"
	}
	after := c.Idle.Freeze
	if w.noFreeze {
		if c.Idle.Stop == 0 {
			return used + "; it cannot be frozen here, so it runs until you put it to sleep"
		}
		after += c.Idle.Stop
	}
	return fmt.Sprintf("%s; it sleeps after %s without use", used, span(after))
}

// reasons is what keeps a session awake, whatever its rule says; nothing when
// it is idle. The caller holds Fleet.mu.
func (w *watched) reasons(s station.Session, now time.Time) []string {
	out := w.wanted(s, now)
	for _, u := range w.busy {
		out = append(out, u.words)
	}
	return out
}

// told is reasons as a person reads them. Beside somebody who is connected, or
// a wish, programs are named when they did more than a trifle for two looks:
// else each key typed would name the shell that echoed it. The caller holds
// Fleet.mu.
func (w *watched) told(s station.Session, now time.Time) []string {
	out := w.wanted(s, now)
	if len(out) == 0 {
		return w.reasons(s, now)
	}
	for _, u := range w.busy {
		if u.lasted && !u.slight {
			out = append(out, u.words)
		}
	}
	return out
}

// wanted is what keeps a session awake from outside: who is connected, and a
// wish for it. The caller holds Fleet.mu.
func (w *watched) wanted(s station.Session, now time.Time) []string {
	counts := map[string]int{}
	for h := range w.holds {
		counts[h.what]++
	}
	var out []string
	for what, n := range counts {
		if n > 1 {
			what = fmt.Sprintf("%s (%d times)", what, n)
		}
		out = append(out, what)
	}
	slices.Sort(out)
	if s.KeepAwakeUntil.After(now) {
		out = append(out, "keep-awake until "+moment(s.KeepAwakeUntil, now))
	}
	return out
}

// moment says a time, in UTC since the server does not know the person's zone;
// the day only when it is another.
func moment(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04 UTC")
	}
	return t.Format("2 Jan 15:04 UTC")
}
