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
	if t.screen.vt.Alternate() || len(t.announcements) >= maxAnnouncements {
		return false
	}
	t.announcements = append(t.announcements, text)
	if !t.screen.vt.Pending() {
		t.announce()
		t.wakeClients()
	}
	return true
}

// announce appends what waits; the caller holds t.appending.
func (t *Terminal) announce() {
	for _, text := range t.announcements {
		t.draw(fmt.Appendf(nil, "\x1b[0m\r\n\x1b[1m%s\x1b[0m\r\n", text))
	}
	t.announcements = nil
}

// output draws what the process wrote, and after it the announcements that waited
// for the end of a sequence that was cut between two reads.
func (t *Terminal) output(p []byte) {
	t.appending.Lock()
	defer t.appending.Unlock()
	t.draw(p)
	switch {
	case len(t.announcements) == 0:
	case t.screen.vt.Alternate():
		t.announcements = nil
	case !t.screen.vt.Pending():
		t.announce()
	}
}
