package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
)

// lineWatch is a writer whose lines can be waited for.
type lineWatch struct {
	mu      sync.Mutex
	partial []byte
	lines   []string
	ended   bool
	err     error
	changed chan struct{} // closed and replaced at every change
}

func newLineWatch() *lineWatch { return &lineWatch{changed: make(chan struct{})} }

// Write implements io.Writer.
func (l *lineWatch) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, ok := bytes.Cut(l.partial, []byte("\n"))
		if !ok {
			break
		}
		l.lines = append(l.lines, string(line))
		l.partial = rest
	}
	l.wake()
	return len(p), nil
}

// end says that no more lines come, and why.
func (l *lineWatch) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.err = true, err
	l.wake()
}

func (l *lineWatch) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// wait returns the rest of the first line that begins with prefix.
func (l *lineWatch) wait(ctx context.Context, prefix string) (string, error) {
	for {
		l.mu.Lock()
		for _, line := range l.lines {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				l.mu.Unlock()
				return rest, nil
			}
		}
		ended, err, changed := l.ended, l.err, l.changed
		l.mu.Unlock()
		if ended {
			if err == nil {
				err = errors.New("the server ended")
			}
			return "", err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
