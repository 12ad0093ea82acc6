package terminal

import "fmt"

// maxAnnouncements is how many may wait for a place in the output.
const maxAnnouncements = 8

// Announce puts a line of text into the output, for every client, as if the
// program had written it: on a line of its own, between two of its characters
// or sequences. It is false while a full-screen program has the terminal, and
// once the process has ended: nothing is shown then. text must hold no control
// characters.
func (t *Terminal) Announce(text string) bool {
	t.appending.Lock()
	defer t.appending.Unlock()
	select {
	case <-t.done:
		return false
	default:
	}
	if len(t.announcements) == 0 {
		tail, _ := t.log.Tail(t.log.Limit())
		t.stand = scanner{}
		t.stand.scan(tail)
	}
	if t.stand.alternate || len(t.announcements) >= maxAnnouncements {
		return false
	}
	t.announcements = append(t.announcements, text)
	if t.stand.between() {
		t.announce()
		t.wakeClients()
	}
	return true
}

// announce appends what waits; the caller holds t.appending.
func (t *Terminal) announce() {
	for _, text := range t.announcements {
		t.log.Append(fmt.Appendf(nil, "\x1b[0m\r\n\x1b[1m%s\x1b[0m\r\n", text))
	}
	t.announcements, t.stand = nil, scanner{}
}

// output appends what the process wrote. While an announcement waits for the end
// of a sequence that was cut between two reads, it looks where the output stands.
func (t *Terminal) output(p []byte) {
	t.appending.Lock()
	defer t.appending.Unlock()
	t.log.Append(p)
	if len(t.announcements) == 0 {
		return
	}
	t.stand.scan(p)
	t.stand.dst = t.stand.dst[:0]
	switch {
	case t.stand.alternate:
		t.announcements, t.stand = nil, scanner{}
	case t.stand.between():
		t.announce()
	}
}
