package terminal

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

// A line of ours is put in between what the program writes, never into it.
func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Scripted
		term, err := Start(context.Background(), &s, Command{Argv: []string{"x"}, Cols: 80, Rows: 24}, Options{Before: []byte("past\r\n")})
		if err != nil {
			t.Fatal(err)
		}
		p := pull(term, Join{Fresh: true})
		write := func(text string) { s.Last().Output([]byte(text)); synctest.Wait(); p.step() }
		write("one")
		const line = "\x1b[0m\r\n\x1b[1mhello\x1b[0m\r\n"
		if !term.Announce("hello") {
			t.Error("refused")
		}
		p.step()
		write("two\x1b[3")
		if !term.Announce("hello") {
			t.Error("refused inside of a sequence")
		}
		p.step()
		want := "past\r\none" + line + "two" // what may become a question is kept back
		if p.got.String() != want {
			t.Errorf("%q, want %q", p.got.String(), want)
		}
		write("1mthree")
		if want += "\x1b[31mthree" + line; p.got.String() != want {
			t.Errorf("%q, want %q", p.got.String(), want)
		}
		write("\x1b[?1049hvim")
		if term.Announce("hello") {
			t.Error("into a full-screen program")
		}
		write("\x1b[?1049l$ ")
		if !term.Announce("hello") {
			t.Error("refused after it")
		}
		if got := string(term.Scrollback(1 << 10)); strings.Contains(got, "vim") || !strings.Contains(got, "past") || strings.Count(got, "hello") != 3 {
			t.Errorf("%q", got)
		}
		s.Last().End(Exit{})
		synctest.Wait()
		if term.Announce("hello") {
			t.Error("after the end")
		}
		p.Detach()
		term.Close()
	})
}
