package guest

import (
	"strings"
	"testing"
	"time"

	"staithe/internal/terminal"
	"staithe/internal/wire"
)

// What a program calls itself or says is text, whatever it holds.
func TestAbuse33_WhatProgramsSayIsInert(t *testing.T) {
	var s said
	now := time.Now()
	title := "a\x1b[31mb\nc\u202ed\u200b\x07"
	m, news := s.message("tab", terminal.Event{Title: &title}, now)
	if got := m.(*wire.Title).Title; !news || got != "a[31mbcd" || s.Title() != got {
		t.Errorf("%q", got)
	}
	if m, news := s.message("tab", terminal.Event{Title: &title}, now.Add(time.Second)); m != nil || news {
		t.Error("the same title is news")
	}
	other := "other"
	for range saidBurst {
		s.message("tab", terminal.Event{Title: &title}, now)
		m, news = s.message("tab", terminal.Event{Title: &other}, now)
	}
	if m != nil || !news || s.Title() != "other" {
		t.Error("a title that comes too soon is in the list all the same")
	}
	m, _ = s.message("tab", terminal.Event{Notify: &terminal.Notice{Title: "\x1b]0;x\x07", Body: strings.Repeat("é\n", 4000)}}, now)
	if n := m.(*wire.Notify); n.Title != "]0;x" || len(n.Text) > maxSentence || strings.Contains(n.Text, "\n") || n.Code != "program" {
		t.Errorf("%+v", n)
	}
	for uri, want := range map[string]string{"file://host/home/a%20b": "/home/a b", "file:///x%0ay": "/xy", "javascript:alert(1)": "", "file:x": "", "%": "", "/tmp": "", "http://x/y": ""} {
		if got := directory(uri); got != want {
			t.Errorf("%q is %q", uri, got)
		}
	}
}

// A flood of events is a trickle of messages; a command that began is told the end.
func TestEventsArePaced(t *testing.T) {
	var s said
	now := time.Now()
	bells, ends, starts := 0, 0, 0
	for i := range 1000 {
		at := now.Add(time.Duration(i) * time.Millisecond)
		if m, _ := s.message("tab", terminal.Event{Bell: true}, at); m != nil {
			bells++
		}
		if m, _ := s.message("tab", terminal.Event{Command: &terminal.CommandMark{Mark: 'C', Rest: "cmdline_url=ls%20-l", Offset: int64(i), At: at}}, at); m != nil {
			if c := m.(*wire.Command); c.Line != "ls -l" || c.Phase != "start" || c.ID != int64(i+1) {
				t.Fatalf("%+v", c)
			}
			starts++
		}
		m, _ := s.message("tab", terminal.Event{Command: &terminal.CommandMark{Mark: 'D', Rest: "3;x", Offset: int64(i), At: at.Add(time.Second)}}, at)
		if c, ok := m.(*wire.Command); ok && c.Phase == "end" && *c.ExitCode == 3 && c.DurationMS == 1000 && c.ID == int64(i+1) {
			ends++
		}
	}
	if bells > 41 || starts > 41 || bells < 20 || starts < 20 || ends != starts {
		t.Errorf("%d bells, %d starts, %d ends", bells, starts, ends)
	}
	// A prompt that says an end without a beginning says nothing.
	if m, _ := s.message("tab", terminal.Event{Command: &terminal.CommandMark{Mark: 'D', Rest: "0"}}, now); m != nil {
		t.Errorf("%+v", m)
	}
}

func TestCommandLine(t *testing.T) {
	for rest, want := range map[string]string{
		`cmdline=ls\ -l\ \;\ echo\ é`: "ls -l ; echo é", `cmdline=$'printf \'a\\n\'\nb'`: `printf 'a\n' b`, `cmdline=$'\303\251\t|'`: "é|",
		"cmdline_url=a%20b%3Bc;x=1": "a b;c", "cmdline_url=%zz": "", "": "", "aid=1": "", `cmdline=\`: `\`, `cmdline=$'\`: `\`, "cmdline=''": "''",
	} {
		if got := commandLine(rest); got != want {
			t.Errorf("%s is %q, want %q", rest, got, want)
		}
	}
}

// FuzzCommandLine: whatever a program writes is text of a bounded length.
func FuzzCommandLine(f *testing.F) {
	f.Add(`cmdline=$'\303\251'`)
	f.Add("cmdline_url=a%20b")
	f.Fuzz(func(t *testing.T, rest string) {
		if got := commandLine(rest); len(got) > maxSentence || got != inert(got) {
			t.Fatalf("%q is %q", rest, got)
		}
	})
}
