package terminal

import (
	"bytes"
	"context"
	"io"
	"sync"
)

// Scripted is a Spawner for tests: its PTYs put out what the test says and keep
// what is typed. The zero value is ready to use.
type Scripted struct {
	mu   sync.Mutex
	last *ScriptedPty
}

// Spawn makes a PTY that nothing runs on.
func (s *Scripted) Spawn(_ context.Context, c Command) (Pty, error) {
	p := &ScriptedPty{Command: c, cols: c.Cols, rows: c.Rows, ended: make(chan struct{})}
	p.cond = sync.NewCond(&p.mu)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = p
	return p, nil
}

// Last is the PTY spawned last.
func (s *Scripted) Last() *ScriptedPty {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// ScriptedPty is a PTY in memory. All methods are safe for concurrent use.
type ScriptedPty struct {
	Command Command

	mu         sync.Mutex
	cond       *sync.Cond
	out        []byte // put out, not yet read
	in         bytes.Buffer
	full       bool // the input queue takes nothing
	over       bool
	exit       Exit
	ended      chan struct{}
	cols, rows int
	signals    []string
}

// Output makes the process write p.
func (p *ScriptedPty) Output(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(p.out, b...)
	p.cond.Broadcast()
}

// Unread is how many bytes of output wait to be read.
func (p *ScriptedPty) Unread() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out)
}

// End ends the process.
func (p *ScriptedPty) End(e Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.over, p.exit = true, e
	close(p.ended)
	p.cond.Broadcast()
}

// SetFull makes the input queue refuse (true) or take (false) bytes.
func (p *ScriptedPty) SetFull(full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = full
	p.cond.Broadcast()
}

// Typed is everything that was written to the process.
func (p *ScriptedPty) Typed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.in.String()
}

// Size is what the process would see.
func (p *ScriptedPty) Size() (cols, rows int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cols, p.rows
}

// Signals lists what was signalled, HUP and KILL of Hangup and Kill included.
func (p *ScriptedPty) Signals() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.signals...)
}

// Read implements Pty.
func (p *ScriptedPty) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.out) == 0 && !p.over {
		p.cond.Wait()
	}
	if len(p.out) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.out)
	p.out = p.out[n:]
	return n, nil
}

// Write implements Pty.
func (p *ScriptedPty) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.full && !p.over {
		p.cond.Wait()
	}
	if p.over {
		return 0, io.ErrClosedPipe
	}
	return p.in.Write(b)
}

// TryWrite implements Pty.
func (p *ScriptedPty) TryWrite(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over:
		return 0, io.ErrClosedPipe
	case p.full:
		return 0, nil
	}
	return p.in.Write(b)
}

// Resize implements Pty.
func (p *ScriptedPty) Resize(cols, rows int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cols, p.rows = cols, rows
	return nil
}

// Signal implements Pty.
func (p *ScriptedPty) Signal(name string) error {
	if _, ok := signals[name]; !ok {
		return ErrBadSignal
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signals = append(p.signals, name)
	return nil
}

// Hangup implements Pty; the process ends of it.
func (p *ScriptedPty) Hangup() error {
	err := p.Signal("HUP")
	p.End(Exit{Code: 129, Signal: "HUP"})
	return err
}

// Kill implements Pty.
func (p *ScriptedPty) Kill() error {
	err := p.Signal("KILL")
	p.End(Exit{Code: 137, Signal: "KILL"})
	return err
}

// Process implements Pty.
func (p *ScriptedPty) Process() string { return "scripted" }

// Cwd implements Pty.
func (p *ScriptedPty) Cwd() string { return p.Command.Dir }

// Wait implements Pty.
func (p *ScriptedPty) Wait() Exit {
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// Close implements Pty.
func (p *ScriptedPty) Close() error {
	p.End(Exit{Code: 129, Signal: "HUP"})
	return nil
}
