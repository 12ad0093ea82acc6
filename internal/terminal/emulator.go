package terminal

import (
	"slices"
	"strconv"
	"time"

	"staithe/internal/station"
	"staithe/internal/vt"
)

// Theme is what a client draws with.
type Theme = vt.Theme

// Event is something a program said besides what it drew. Exactly one field is
// set. Texts are a program's: whatever it likes, at most 4 KiB.
type Event struct {
	Title   *string // OSC 0 and 2
	Cwd     string  // OSC 7: a file URI
	Bell    bool
	Notify  *Notice
	Command *CommandMark
}

// Notice is a message to the person (OSC 9, 777, 99).
type Notice struct{ Title, Body string }

// CommandMark is where a shell's command begins or ends (OSC 133).
type CommandMark struct {
	Mark   byte   // C output, D end; also where the process ends
	Rest   string // what followed the mark
	Offset int64  // of the mark in the output
	At     time.Time
}

// maxEvents is how many events of one read are passed on, the newest.
const maxEvents = 64

// emulator draws the output, answers what programs ask, and hears what they say.
// Guarded by Terminal.appending.
type emulator struct {
	vt      *vt.Terminal
	out     []byte // reused
	base    int64  // where the output ended before what is drawn now
	answers []byte
	events  []Event
	belled  bool
}

func (e *emulator) init(cols, rows int) {
	e.vt = vt.New(cols, rows, vt.Options{
		Answer: func(b []byte) {
			if len(e.answers) < maxAnswers {
				e.answers = append(e.answers, b...)
			}
		},
		Title: func(s string) { e.heard(Event{Title: &s}) },
		Bell: func() {
			if !e.belled { // one for each read
				e.belled = true
				e.heard(Event{Bell: true})
			}
		},
		Cwd: func(uri string) {
			if uri != "" {
				e.heard(Event{Cwd: uri})
			}
		},
		Notify: func(title, body string) { e.heard(Event{Notify: &Notice{title, body}}) },
		Command: func(mark byte, rest string) {
			if mark != 'C' && mark != 'D' { // a prompt, and what is typed at it
				return
			}
			e.heard(Event{Command: &CommandMark{mark, rest, e.base + int64(e.vt.Position()), time.Now()}})
		},
	})
}

func (e *emulator) look(l Look) {
	if l.Theme != nil {
		e.vt.SetTheme(*l.Theme)
	}
	if l.CellWidth > 0 && l.CellHeight > 0 {
		e.vt.SetCell(l.CellWidth, l.CellHeight)
	}
}

func (e *emulator) heard(ev Event) {
	same := func(o Event) bool { return o.Title != nil && ev.Title != nil || o.Cwd != "" && ev.Cwd != "" }
	e.events = slices.DeleteFunc(e.events, same) // the new one comes where it was said: after the command that changed it
	if e.events = append(e.events, ev); len(e.events) <= maxEvents {
		return
	}
	// Rather a notice is lost than that a command ended. Of the others there is one each.
	oldest := slices.IndexFunc(e.events, func(o Event) bool { return o.Notify != nil })
	if oldest < 0 {
		oldest = slices.IndexFunc(e.events, func(o Event) bool { return o.Command != nil })
	}
	e.events = slices.Delete(e.events, oldest, oldest+1)
}

// over ends the command that the process leaves behind: no shell says that it exits.
func (t *Terminal) over(exit Exit, offset int64) {
	if t.opt.OnEvent == nil {
		return
	}
	mark := &CommandMark{Mark: 'D', Offset: offset, At: time.Now()}
	if exit.Signal == "" {
		mark.Rest = strconv.Itoa(exit.Code)
	}
	t.opt.OnEvent(Event{Command: mark})
}

// draw puts output into the emulator and what is no query into the log. The caller
// holds t.appending and calls deliver once it does not.
func (t *Terminal) draw(p []byte) {
	e := &t.screen
	_, e.base = t.log.Bounds()
	e.out = e.vt.Filter(e.out[:0], p)
	t.log.Append(e.out)
}

// deliver passes on the answers and events of what was drawn. It has one caller at
// a time.
func (t *Terminal) deliver() {
	e := &t.screen
	t.appending.Lock()
	answers, events := e.answers, e.events
	e.answers, e.events, e.belled = nil, nil, false
	t.appending.Unlock()
	if len(answers) > 0 {
		t.input.answer(answers)
	}
	if t.opt.OnEvent == nil {
		return
	}
	for _, ev := range events {
		t.opt.OnEvent(ev)
	}
}

// snapshot is what makes a fresh xterm.js equal, with up to lines lines of the
// scrollback, and where the stream goes on after it. The caller holds t.appending.
func (t *Terminal) snapshot(lines int) (redraw []byte, offset int64) {
	return t.goingOn(t.screen.vt.Snapshot(lines))
}

// goingOn has a redraw followed by the sequence that has not ended, from its beginning.
// Of a long one, which the log may have lost before the client has it, only the rest
// comes, and the redraw ends with what has that passed over.
func (t *Terminal) goingOn(redraw []byte) ([]byte, int64) {
	_, end := t.log.Bounds()
	if n := int64(t.screen.vt.Unfinished()); n <= Window {
		return redraw, end - n
	}
	return append(redraw, t.screen.vt.Rejoin()...), end
}

// reshape changes who drives, or how large the terminal is, between two pieces of
// output, so that the emulator and all clients draw the same bytes at the same
// size. change says whether the size is another; it is called with t.mu held.
func (t *Terminal) reshape(change func() (resized bool)) (resized bool) {
	t.appending.Lock()
	defer t.appending.Unlock()
	t.mu.Lock()
	resized = change()
	cols, rows, look := t.cols, t.rows, Look{}
	if t.driver != nil {
		look = t.driver.Look
	}
	t.mu.Unlock()
	if resized {
		t.screen.vt.Resize(cols, rows)
	}
	t.screen.look(look)
	return resized
}

// DefaultTheme is xterm.js's own.
func DefaultTheme() Theme { return vt.DefaultTheme() }

// Screen is what the terminal shows, with up to back lines of the scrollback;
// painted with the sequences that give it its colours.
func (t *Terminal) Screen(back int, painted bool) station.Screen {
	t.appending.Lock()
	defer t.appending.Unlock()
	v := t.screen.vt
	_, end := t.log.Bounds()
	s := station.Screen{Epoch: t.epoch, Offset: end - int64(v.Unfinished()), Visible: v.CursorVisible(), Alternate: v.Alternate(), Title: v.Title()}
	s.Cols, s.Rows = v.Size()
	s.X, s.Y = v.Cursor()
	if painted {
		s.Lines = v.Painted(back)
	} else {
		s.Lines = v.Lines(back)
	}
	return s
}
