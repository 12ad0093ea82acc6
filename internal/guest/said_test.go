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
	if m, news := s.message("tab", terminal.Event{Title: &other}, now.Add(saidEvery/2)); m != nil || !news || s.Title() != "other" {
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

// A flood of events is a trickle of messages; the end of a command is always told.
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
		if c := m.(*wire.Command); c.Phase == "end" && *c.ExitCode == 3 && c.DurationMS == 1000 && c.ID == int64(i+1) {
			ends++
		}
	}
	if bells > 20 || starts > 20 || bells == 0 || starts == 0 || ends != 1000 {
		t.Errorf("%d bells, %d starts, %d ends", bells, starts, ends)
	}
	// A prompt that says an end without a beginning says nothing.
	if m, _ := s.message("tab", terminal.Event{Command: &terminal.CommandMark{Mark: 'D', Rest: "0"}}, now); m != nil {
		t.Errorf("%+v", m)
	}
}
