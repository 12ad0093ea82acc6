package terminal

import (
	"context"
	"errors"
)

// Command says what to run on a PTY.
type Command struct {
	Argv       []string // Argv[0] is found in PATH of Env
	Dir        string   // where it starts; if it is not there, the first of Env's HOME and /
	Env        []string
	Cols, Rows int
	UID, GID   int // 0, 0: as this process
}

// Exit says how a process ended. Signal is the name without SIG ("KILL") when a
// signal ended it; Code is then 128 plus its number, as shells say it.
type Exit struct {
	Code   int
	Signal string
}

// ErrBadSignal is wrapped by Pty.Signal for a name that is none of the allowed.
var ErrBadSignal = errors.New("no such signal")

// Spawner starts a command on a PTY of its kind: on this machine (Local), by a
// script (Scripted), or elsewhere. Nothing above knows which.
type Spawner interface {
	Spawn(ctx context.Context, c Command) (Pty, error)
}

// Pty is a pseudo-terminal with a process on it.
//
// Read has one caller; all other methods may be called by several goroutines at
// once and together with Read.
type Pty interface {
	// Read blocks for output. It returns every byte the process wrote, then
	// io.EOF once the process has ended.
	Read(p []byte) (int, error)
	// Write blocks until all of p is in the PTY's input queue, the PTY is
	// closed or the process ends.
	Write(p []byte) (int, error)
	// TryWrite writes what fits now and never blocks; 0, nil when nothing fits.
	TryWrite(p []byte) (int, error)
	// Resize sets the size in cells; the kernel tells the process (SIGWINCH).
	Resize(cols, rows int) error
	// Signal sends INT, TERM, HUP, KILL, QUIT, TSTP or CONT to the foreground
	// process group.
	Signal(name string) error
	// Hangup ends the terminal's processes politely (SIGHUP), Kill at once.
	Hangup() error
	Kill() error
	// Process names the program in the foreground, "" when it is not known.
	Process() string
	// Cwd is the working directory of the process, "" when it is not known.
	Cwd() string
	// Wait blocks until the process has ended and says how.
	Wait() Exit
	// Close frees the PTY; a blocked Read or Write returns.
	Close() error
}
