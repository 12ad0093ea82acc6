package terminal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"staithe/internal/station"
	"staithe/internal/vt"
)

// screen draws what a client is sent, as the page does.
type screen struct {
	*puller
	vt      *vt.Terminal
	lazy    bool // acknowledges redraws alone
	redrawn int
	resumed int
}

func watch(t *Terminal, j Join) *screen {
	s := &screen{puller: pull(t, j)}
	s.vt = vt.New(s.joined.Cols, s.joined.Rows, vt.Options{Answer: func(b []byte) { panic(fmt.Sprintf("a client was asked, and answers %q", b)) }})
	return s
}

// draw takes and draws what there is now, in order.
func (s *screen) draw() {
	buf := make([]byte, 4096)
	for {
		it := s.Next(buf)
		switch {
		case it.Size != nil:
			s.vt.Resize(it.Size.Cols, it.Size.Rows)
		case it.Resync != nil:
			s.want = it.Resync.SnapshotBytes
			s.at = it.Resync.Offset
			s.redrawn++
		case it.N > 0 && s.want > 0:
			s.vt.Write(buf[:it.N])
			if s.want -= int64(it.N); s.want == 0 {
				s.Ack(1<<40, true)
			}
		case it.N > 0:
			s.vt.Write(buf[:it.N])
			s.at += int64(it.N)
			if !s.lazy {
				s.Ack(s.at, false)
			}
		default:
			return
		}
	}
}

// rejoin comes back after its link dropped, for the next byte it wants.
func (s *screen) rejoin(t *Terminal) {
	j := s.Join
	j.Fresh = false
	if s.want == 0 {
		j.Epoch, j.Offset = t.Epoch(), &s.at
	}
	s.Drop()
	again := pull(t, j)
	s.Attachment, s.joined, s.want, s.at = again.Attachment, again.joined, again.want, again.at
	if s.joined.Resumed {
		s.resumed++
		s.vt.Resize(s.joined.Cols, s.joined.Rows)
	} else {
		s.vt = vt.New(s.joined.Cols, s.joined.Rows, vt.Options{})
	}
}

// pieces are what programs write, some of it questions.
var pieces = []string{
	"plain text ", "\r\n", "\x1b[31;1mred\x1b[0m", "é", "漢字", "👩‍👩‍👧", "\x1b[2J\x1b[H", "\x1b[?1049h", "\x1b[?1049l", "\x1b[5;7H", "\x1b[6n",
	"\x1b[c", "\x1b]11;?\x07", "\x1b]2;a title\x1b\\", "\x1bP$qm\x1b\\", "\x1b[?25$p", "\x1b[3;10r", "\x1b[r", "\x1b7", "\x1b8", "\x1b[?7l", "\x1b[?7h",
	"\x1b(0lqk\x1b(B", "\t", "\x1b[2L", "\x1b[P", "\a", "\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "\x1b[?2004h", "\x1b[4:3m", "\x1b[m",
}

// Whoever comes when, stays away how long, and has which size: in the end all see
// the same, and every question was answered once.
func TestAllClientsSeeTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		term, pty := scripted(t, Options{LogLimit: 64 << 10})
		questions := 0
		clients := []*screen{watch(term, Join{Key: ClientKey{"user", "client-0"}, Fresh: true})}
		for round := range 300 {
			var out strings.Builder
			for range rnd.IntN(1200) {
				p := pieces[rnd.IntN(len(pieces))]
				if strings.Contains(p, "[6n") {
					questions++
				}
				out.WriteString(p)
			}
			b := []byte(out.String())
			for len(b) > 0 {
				n := min(len(b), 1+rnd.IntN(4000))
				pty.Output(b[:n])
				synctest.Wait()
				b = b[n:]
				if rnd.IntN(4) == 0 {
					clients[rnd.IntN(len(clients))].draw()
				}
				if rnd.IntN(40) == 0 {
					c := clients[rnd.IntN(len(clients))]
					if err := c.Resize(20+rnd.IntN(100), 5+rnd.IntN(40)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if round%10 == 5 && len(clients) < 12 {
				c := watch(term, Join{Key: ClientKey{"user", fmt.Sprint("client-", round)}, Live: round%20 == 5,
					Role: []station.Role{station.RoleOwner, station.RoleWriter}[rnd.IntN(2)], Cols: 30 + rnd.IntN(50), Rows: 10 + rnd.IntN(20)})
				c.lazy = round%20 == 5
				clients = append(clients, c)
			}
			if c := clients[rnd.IntN(len(clients))]; rnd.IntN(5) == 0 {
				c.rejoin(term)
			}
			for _, c := range clients {
				if c.want == 0 || round%3 == 0 {
					c.draw()
				}
			}
			for range rnd.IntN(3) * rnd.IntN(2) { // at one place in the output
				c := clients[rnd.IntN(len(clients))]
				if err := errors.Join(c.Drive(Look{}), c.Resize(20+rnd.IntN(100), 5+rnd.IntN(40))); err != nil {
					t.Fatal(err)
				}
			}
		}
		redrawn, resumed := 0, 0
		for _, c := range clients {
			for range 10 {
				c.Ack(c.at, false)
				c.draw()
			}
			redrawn, resumed = redrawn+c.redrawn, resumed+c.resumed
		}
		if redrawn < 3 || resumed < 20 {
			t.Errorf("%d redraws, %d resumed", redrawn, resumed)
		}
		// A cursor saved at the top left is what one that was never saved is, and what the
		// alternate screen has saved, while it is not shown, is in no redraw.
		same := regexp.MustCompile(`\x1b\[1;1H(\x1b\[0m)?\x1b\(B\x1b7\x1b\(B|\x1b\[\?47h[^\n]*\x1b7\x1b\(B\x1b\[\?47l`)
		state := func(v *vt.Terminal) string { return string(same.ReplaceAll(v.Snapshot(0), nil)) }
		term.appending.Lock()
		want := state(term.screen.vt)
		term.appending.Unlock()
		for i, c := range clients {
			if got := state(c.vt); got != want {
				t.Errorf("client %d sees\n%q\nand it is\n%q", i, got, want)
			}
		}
		if n := strings.Count(pty.Typed(), "R"); n != questions {
			t.Errorf("%d questions where the cursor is, %d answers", questions, n)
		}
	})
}

// A program that asks and never reads costs a bounded number of answers, and holds
// nothing up.
func TestAnswersNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		pty.SetFull(true)
		for range 1000 {
			pty.Output([]byte(strings.Repeat("\x1b[6n", 1000)))
		}
		pty.Output([]byte("still here"))
		synctest.Wait()
		a := watch(term, Join{})
		a.draw()
		if !strings.Contains(string(a.vt.Snapshot(0)), "still here") || a.joined.Offset > 100 {
			t.Errorf("%+v %q", a.joined, a.vt.Snapshot(0))
		}
		pty.SetFull(false)
		synctest.Wait()
		if n := len(pty.Typed()); n == 0 || n > 3*maxAnswers {
			t.Errorf("%d bytes of answers", n)
		}
	})
}

// What a program says comes out as events, with the place in the output where it
// was said, wherever the reads cut it.
func TestEvents(t *testing.T) {
	const said = "ab\x1b]2;one\x07\x1b[6ncd\x1b]7;file://host/tmp\x1b\\\a\a\x1b]133;C\x07out\x1b[c\x1b]133;D;3\x07\x1b]777;notify;T;B\x07"
	for cut := range len(said) {
		synctest.Test(t, func(t *testing.T) {
			var got []Event
			term, pty := scripted(t, Options{OnEvent: func(e Event) { got = append(got, e) }})
			for _, part := range []string{said[:cut], said[cut:]} {
				pty.Output([]byte(part))
				synctest.Wait()
			}
			bells := 0
			got = slices.DeleteFunc(got, func(e Event) bool {
				if e.Bell {
					bells++
				}
				return e.Bell
			})
			if bells < 1 || bells > 2 || len(got) != 5 {
				t.Fatalf("cut at %d: %d bells, %+v", cut, bells, got)
			}
			start, end := got[2].Command, got[3].Command
			if *got[0].Title != "one" || got[1].Cwd != "file://host/tmp" || !reflect.DeepEqual(got[4].Notify, &Notice{"T", "B"}) ||
				start.Mark != 'C' || end.Mark != 'D' || end.Rest != "3" {
				t.Errorf("cut at %d: %+v", cut, got)
			}
			b := make([]byte, 1024)
			n, _ := term.Output(b, 0)
			stream := string(b[:n])
			if strings.Contains(stream, "[6n") || strings.Contains(stream, "[c") || !strings.Contains(stream, "cd") {
				t.Errorf("cut at %d: %q", cut, stream)
			}
			if s, e := strings.Index(stream, "\x1b]133;C"), strings.Index(stream, "\x1b]133;D"); int(start.Offset) != s || int(end.Offset) != e {
				t.Errorf("cut at %d: a command from %d to %d, want %d to %d", cut, start.Offset, end.Offset, s, e)
			}
		})
	}
}

// Of more than there is room for the newest counts: a program is called what it said
// last, and a command that began and ended did so, whatever else is said.
func TestTheLastOfManyEventsCounts(t *testing.T) {
	many := func(format string) string {
		var out strings.Builder
		for i := range 5 * maxEvents {
			fmt.Fprintf(&out, format, i)
		}
		return out.String()
	}
	const last = 5*maxEvents - 1
	for said, want := range map[string]Event{
		many("\x1b]7;\a\x1b]2;%d\a"):                                     {Title: new(fmt.Sprint(last))},
		many("\x1b]7;\a\x1b]133;A\a\x1b]7;file://host/%d\a\x1b]9;hey\a"): {Cwd: fmt.Sprint("file://host/", last)},
		many("\x1b]9;notice %d\a"):                                       {Notify: &Notice{Body: fmt.Sprint("notice ", last)}},
		many("\x1b]133;C\a\x1b]133;D;%d\a"):                              {Command: &CommandMark{Mark: 'D', Rest: fmt.Sprint(last)}},
		"\x1b]133;C;begun\a" + many("\x1b]9;notice %d\a"):                {Command: &CommandMark{Mark: 'C', Rest: "begun"}},
		"\x1b]133;D;7\a" + many("\x1b]777;notify;T;%d\a"):                {Command: &CommandMark{Mark: 'D', Rest: "7"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []Event
			_, pty := scripted(t, Options{OnEvent: func(e Event) { got = append(got, e) }})
			pty.Output([]byte(said))
			synctest.Wait()
			same := func(e Event) bool {
				if e.Command != nil {
					e.Command = &CommandMark{Mark: e.Command.Mark, Rest: e.Command.Rest}
				}
				return reflect.DeepEqual(e, want)
			}
			if !slices.ContainsFunc(got, same) || len(got) > maxEvents {
				t.Errorf("%.40q: %d events, not %+v among them", said, len(got), want)
			}
		})
	}
}

// A folder or title that is said again is told where it was said last.
func TestEventsKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		_, pty := scripted(t, Options{OnEvent: func(e Event) {
			switch {
			case e.Command != nil:
				got = append(got, string(e.Command.Mark))
			case e.Title != nil:
				got = append(got, *e.Title)
			default:
				got = append(got, e.Cwd)
			}
		}})
		pty.Output([]byte("\x1b]7;file:///home\a\x1b]2;home\a\x1b]133;C\a\x1b]133;D;0\a\x1b]7;file:///usr\a\x1b]2;usr\a\x1b]133;C\a"))
		synctest.Wait()
		if want := []string{"C", "D", "file:///usr", "usr", "C"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// No shell says that it exits: the command that it leaves behind has ended all the same.
func TestCommandEndsWithItsProcess(t *testing.T) {
	for signal, want := range map[string]string{"": "3", "KILL": ""} {
		synctest.Test(t, func(t *testing.T) {
			var got []Event
			term, pty := scripted(t, Options{OnEvent: func(e Event) { got = append(got, e) }})
			pty.Output([]byte("\x1b]133;C\abye"))
			pty.End(Exit{Code: 3, Signal: signal})
			<-term.Done()
			if n := len(got); n != 2 || got[1].Command == nil || got[1].Command.Mark != 'D' || got[1].Command.Rest != want || got[1].Command.Offset != term.Head() {
				t.Errorf("%q: %+v", signal, got)
			}
		})
	}
}

// Whoever heard of several sizes at one byte before its link dropped goes on from there,
// and is told those that came meanwhile one by one.
func TestSizesAtOneByteAreKnownToWhoeverHeardOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		a := watch(term, Join{Fresh: true, Cols: 80, Rows: 24})
		pty.Output([]byte(strings.Repeat("a line that is cut where the terminal is narrow ", 3)))
		synctest.Wait()
		for _, cols := range []int{40, 60, 30, 90} {
			if err := a.Resize(cols, 24); err != nil {
				t.Fatal(err)
			}
			if cols == 60 { // it hears of two of them
				a.draw()
				a.Drop()
			}
		}
		other := watch(term, Join{Key: ClientKey{"user", "another"}, Cols: 90, Rows: 24})
		for _, cols := range []int{30, 90} {
			if err := other.Resize(cols, 24); err != nil {
				t.Fatal(err)
			}
		}
		a.rejoin(term)
		a.draw()
		if got, want := a.vt.Lines(0), term.Screen(0, false).Lines; a.resumed != 1 || !slices.Equal(got, want) {
			t.Errorf("resumed %d times, and shows %q, not %q", a.resumed, got, want)
		}
	})
}
