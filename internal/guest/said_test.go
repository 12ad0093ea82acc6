package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"staithe/internal/muxclient/muxtest"
	"staithe/internal/terminal"
	"staithe/internal/wire"
)

// one is what a client gets of an event, where that is at most one message.
func (s *said) one(e terminal.Event, now time.Time) (m wire.ServerMessage, news bool) {
	all, news := s.messages("tab", e, now)
	if len(all) == 1 {
		m = all[0]
	}
	return m, news
}

// What a program calls itself or says is text, whatever it holds.
func TestAbuse33_WhatProgramsSayIsInert(t *testing.T) {
	var s said
	now := time.Now()
	title := "a\x1b[31mb\nc\u202ed\u200b\x07"
	m, news := s.one(terminal.Event{Title: &title}, now)
	if got := m.(*wire.Title).Title; !news || got != "a[31mbcd" || s.Title() != got {
		t.Errorf("%q", got)
	}
	if m, news := s.one(terminal.Event{Title: &title}, now.Add(time.Second)); m != nil || news {
		t.Error("the same title is news")
	}
	other := "other"
	for range saidBurst {
		s.one(terminal.Event{Title: &title}, now)
		m, news = s.one(terminal.Event{Title: &other}, now)
	}
	if m != nil || !news || s.Title() != "other" {
		t.Error("a title that comes too soon is in the list all the same")
	}
	m, _ = s.one(terminal.Event{Notify: &terminal.Notice{Title: "\x1b]0;x\x07", Body: strings.Repeat("é\n", 4000)}}, now)
	if n := m.(*wire.Notify); n.Title != "]0;x" || len(n.Text) > maxSentence || !strings.HasPrefix(n.Text, "éé") || strings.Contains(n.Text, "\n") || n.Code != "program" {
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
		if m, _ := s.one(terminal.Event{Bell: true}, at); m != nil {
			bells++
		}
		if m, _ := s.one(terminal.Event{Command: &terminal.CommandMark{Mark: 'C', Rest: "cmdline_url=ls%20-l", Offset: int64(i), At: at}}, at); m != nil {
			if c := m.(*wire.Command); c.Line != "ls -l" || c.Phase != "start" || c.ID != int64(i+1) {
				t.Fatalf("%+v", c)
			}
			starts++
		}
		m, _ := s.one(terminal.Event{Command: &terminal.CommandMark{Mark: 'D', Rest: "3;x", Offset: int64(i), At: at.Add(time.Second)}}, at)
		if c, ok := m.(*wire.Command); ok && c.Phase == "end" && *c.ExitCode == 3 && c.DurationMS == 1000 && c.ID == int64(i+1) {
			ends++
		}
	}
	if bells > 41 || starts > 41 || bells < 20 || starts < 20 || ends != starts {
		t.Errorf("%d bells, %d starts, %d ends", bells, starts, ends)
	}
	// A prompt that says an end without a beginning says nothing.
	if m, _ := s.one(terminal.Event{Command: &terminal.CommandMark{Mark: 'D', Rest: "0"}}, now); m != nil {
		t.Errorf("%+v", m)
	}
}

// Lines that are pasted together begin one after the other, and bash says one end: each
// has one. Whoever heard nothing of it is told in the list.
func TestCommandsEndWhereTheNextBegins(t *testing.T) {
	var s said
	now := time.Now()
	if s.Last() != nil {
		t.Errorf("%+v", s.Last())
	}
	said := func(mark byte, rest string, after time.Duration) (out []string) {
		t.Helper()
		at := now.Add(after)
		messages, _ := s.messages("tab", terminal.Event{Command: &terminal.CommandMark{Mark: mark, Rest: rest, Offset: int64(after), At: at}}, at)
		for _, m := range messages {
			c := m.(*wire.Command)
			code := -1
			if c.ExitCode != nil {
				code = *c.ExitCode
			}
			out = append(out, fmt.Sprintf("%d %s %d %d %d %s", c.ID, c.Phase, c.Offset, code, c.DurationMS, c.Line))
		}
		return out
	}
	for _, step := range []struct {
		mark  byte
		rest  string
		after time.Duration
		want  []string
		last  wire.LastCommand
	}{
		{'C', "cmdline=one", 0, []string{"1 start 0 -1 0 one"}, wire.LastCommand{ID: 1}},
		{'C', "cmdline=two", 5e6, []string{"1 end 5000000 -1 5 ", "2 start 5000000 -1 0 two"}, wire.LastCommand{ID: 2}},
		{'D', "0", 8e6, []string{"2 end 8000000 0 3 "}, wire.LastCommand{ID: 2, Ended: true, ExitCode: new(int)}},
		{'D', "0", 9e6, nil, wire.LastCommand{ID: 2, Ended: true, ExitCode: new(int)}},
	} {
		if got := said(step.mark, step.rest, step.after); !slices.Equal(got, step.want) {
			t.Errorf("%c %s: %q, not %q", step.mark, step.rest, got, step.want)
		}
		if got := s.Last(); got == nil || !reflect.DeepEqual(*got, step.last) {
			t.Errorf("%c %s: the last is %+v", step.mark, step.rest, got)
		}
	}
	// A folder is news once.
	for i, want := range []bool{true, false, true} {
		if _, news := s.one(terminal.Event{Cwd: []string{"file:///a", "file:///a", "file:///b"}[i]}, now); news != want {
			t.Errorf("folder %d: %v", i, news)
		}
	}
}

// A restarted tab is a new shell: nothing that the dead one said is true of it. Its
// commands are counted on, so that a client never hears a number twice.
func TestRestartForgetsWhatTheDeadShellSaid(t *testing.T) {
	w := newWorld(t)
	api := w.api()
	raw := rawMux(t, api, owner("ada"))
	raw.Say(&wire.Hello{Client: "restart-forgets-test"})
	raw.Say(&wire.Open{Req: wire.StringReq("1"), Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", `
		read -r now
		if [ -e lived ]; then printf '\033]133;D;0\007\033]133;C\007'; exec cat; fi
		: > lived; printf '\033]2;dead\007\033]133;C\007'`}})
	at := raw.Next("attached").(*wire.Attached)
	enter := func() { raw.Send([]byte{at.Channel, '\n'}) }
	title := func() string {
		t.Helper()
		tabs, err := api.Tabs(t.Context(), owner("ada"))
		if err != nil || len(tabs) != 1 {
			t.Fatalf("%+v %v", tabs, err)
		}
		return tabs[0].Title
	}
	enter()
	if c := raw.Next("command").(*wire.Command); c.ID != 1 || c.Phase != "start" {
		t.Errorf("%+v", c)
	}
	raw.Next("exit")
	if got := title(); got != "dead" {
		t.Errorf("the ended tab is called %q", got)
	}
	raw.Say(&wire.Attach{Req: wire.StringReq("2"), Tab: at.Tab, Cols: 80, Rows: 24, Restart: true})
	at = raw.Next("attached").(*wire.Attached)
	enter()
	if c := raw.Next("command").(*wire.Command); c.ID != 2 || c.Phase != "start" {
		t.Errorf("of another life: %+v", c)
	}
	if got := title(); got != "" {
		t.Errorf("the new shell is called %q", got)
	}
}

// Two pages ask for a new shell at once: one starts, and it is in the tab.
func TestRestartedByTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	st, s := openTab(t, c, wire.Open{Command: []string{"/bin/sh", "-c", `echo x >> lives; printf '\033]2;life-%s\007' $(wc -l < lives); read -r x`}})
	st.Write([]byte("\n"))
	s.WaitExit(t)
	api := w.api()
	var work sync.WaitGroup
	for range 8 {
		other := w.client(owner("ada"))
		work.Go(func() {
			if _, err := other.Attach(t.Context(), wire.Attach{Tab: "main", Cols: 80, Rows: 24, Restart: true}, muxtest.New()); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	deadline := time.Now().Add(30 * time.Second)
	for {
		tabs, err := api.Tabs(t.Context(), owner("ada"))
		if err != nil || len(tabs) != 1 || time.Now().After(deadline) {
			t.Fatalf("%+v %v", tabs, err)
		}
		if tabs[0].Title == "life-2" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if lives, err := os.ReadFile(filepath.Join(w.home, "lives")); err != nil || len(lives) != 4 {
		t.Errorf("%q %v", lives, err)
	}
}

func TestCommandLine(t *testing.T) {
	for rest, want := range map[string]string{
		`cmdline=ls\ -l\ \;\ echo\ é`: "ls -l ; echo é", `cmdline=$'printf \'a\\n\'\nb'`: `printf 'a\n' b`, `cmdline=$'\303\251\t|'`: "é|",
		"cmdline_url=a%20b%3Bc;x=1": "a b;c", "cmdline_url=%zz": "", "cmdline_url=a%20%E": "a ", "cmdline_url=a%": "a", `cmdline=$'a\\E[1m\Ex'`: `a\E[1mx`, "": "", "aid=1": "", `cmdline=\`: `\`, `cmdline=$'\`: `\`, "cmdline=''": "''",
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
