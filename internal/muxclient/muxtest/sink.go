// Package muxtest is what tests of mux clients share: a sink that keeps
// everything a tab puts out and can be waited on.
package muxtest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"staithe/internal/muxclient"
	"staithe/internal/wire"
)

// patience is how long Until waits before it fails the test.
const patience = 60 * time.Second

// Sink is a muxclient.Sink. Its fields may be read in Until's condition, and
// freely once nothing more comes.
type Sink struct {
	Out     bytes.Buffer // the stream
	Redrawn bytes.Buffer // the last redraw
	Resets  int
	Lost    bytes.Buffer // typed and told as not sent
	Exited  *wire.Exit
	Sizes   []string // "80x24"

	mu   sync.Mutex
	cond *sync.Cond
}

// New makes an empty sink.
func New() *Sink {
	s := &Sink{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

// Do changes something under the lock that Until holds, and wakes it.
func (s *Sink) Do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.cond.Broadcast()
}

// Reset implements muxclient.Sink.
func (s *Sink) Reset(int64) { s.Do(func() { s.Resets++; s.Redrawn.Reset() }) }

// Exit implements muxclient.Sink.
func (s *Sink) Exit(e wire.Exit) { s.Do(func() { s.Exited = &e }) }

// Unsent implements muxclient.Sink.
func (s *Sink) Unsent(p []byte) { s.Do(func() { s.Lost.Write(p) }) }

// Size implements muxclient.Sink.
func (s *Sink) Size(c, r int) { s.Do(func() { s.Sizes = append(s.Sizes, fmt.Sprintf("%dx%d", c, r)) }) }

// Output implements muxclient.Sink.
func (s *Sink) Output(p []byte, what muxclient.Kind) {
	s.Do(func() {
		if what == muxclient.Redraw {
			s.Redrawn.Write(p)
		} else {
			s.Out.Write(p)
		}
	})
}

// Until waits for a condition over what came, and fails the test when it does
// not hold in time.
func (s *Sink) Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() { s.Do(func() { late = true }) })
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ok() {
		if late {
			tail := s.Out.Bytes()
			t.Fatalf("%s: not seen; %d bytes came, the last %q", what, len(tail), tail[max(0, len(tail)-300):])
		}
		s.cond.Wait()
	}
}

// See waits for a text, redrawn or not.
func (s *Sink) See(t testing.TB, text string) {
	t.Helper()
	s.Until(t, text, func() bool { return strings.Contains(s.Redrawn.String()+s.Out.String(), text) })
}

// WaitExit waits for the shell's end.
func (s *Sink) WaitExit(t testing.TB) wire.Exit {
	t.Helper()
	s.Until(t, "exit", func() bool { return s.Exited != nil })
	return *s.Exited
}

// Text is the stream so far.
func (s *Sink) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Out.String()
}
