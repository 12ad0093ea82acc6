package terminal

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
)

// asks is what makes a terminal answer, or change more than what it shows.
var asks = regexp.MustCompile(`\x1b(\[[^A-Za-z@` + "`" + `]*[cnpqtuxyhlri]|[\]PX^_cZ=>#%]|\[[<=>?!])|\x05`)

// Whatever a program wrote: drawn again it asks nothing and switches nothing.
func TestAbuse30_RestoredOutputAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		pty.Output([]byte("shown\x1b[c\x1b[>c\x1b[6n\x1b[?6n\x1b[18t\x1b[?1$p\x1b[>q\x1b[?u\x1b[x\x1bZ\x05\x1bP$qm\x1b\\\x1bP+q544e\x1b\\" +
			"\x1b]52;c;?\x07\x1b]4;1;?\x1b\\\x1b]11;?\x07\x1b[\x1b[6n\x1b[6\x1b[6n\u009b6n\x1b\x1b[6n" +
			"\x1b]0;title\x07\x1b[?1000;1006;2004h\x1b[4h\x1b=\x1b]8;;http://h\x07\x1b[1\"q\x1b(0\x1b(Btoo\x1b]8;;\x07\x1b[31me\u0301"))
		synctest.Wait()
		got := term.Scrollback(1 << 20)
		if bad := asks.Find(got); bad != nil || !bytes.Contains(got, []byte("shown")) || !bytes.HasSuffix(got, []byte("\x1b[0;31me\u0301\x1b[0m")) {
			t.Errorf("%q keeps %q", got, bad)
		}
	})
}

// However much a full-screen program has drawn: what was there before it is kept, and
// what it drew is not.
func TestScrollbackOutlivesAFullScreenProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{LogLimit: 64 << 10})
		pty.Output([]byte("what was said before\r\n$ htop\r\n\x1b[?1049h"))
		for i := range 4000 {
			pty.Output(fmt.Appendf(nil, "\x1b[%d;1H\x1b[Kprocess %d of the machine", i%24, i))
			if i%50 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if start, _ := term.log.Bounds(); start == 0 {
			t.Fatal("the log has all")
		}
		if got := string(term.Scrollback(1 << 10)); !strings.HasPrefix(got, "what was said before\r\n$ htop") || strings.Contains(got, "process") {
			t.Errorf("%q", got)
		}
	})
}

// A sequence that is longer than the log does not have clients redrawn for ever: one
// that comes in the middle of it passes over the rest.
func TestAbuse29_EndlessSequenceIsPassedOver(t *testing.T) {
	for _, begin := range []string{"\x1b]0;", "\x1bPq", "\x1b_", "\x1bX", "\x1b^", "\x1b]1337;File=:"} {
		synctest.Test(t, func(t *testing.T) {
			term, pty := scripted(t, Options{LogLimit: 1 << 20})
			pty.Output([]byte("before" + begin))
			piece := bytes.Repeat([]byte("x"), 16<<10)
			flood := func(n int) {
				for range n {
					pty.Output(piece)
					synctest.Wait()
				}
			}
			flood(100) // nobody looks
			a := watch(term, Join{})
			for range 100 {
				flood(1)
				a.draw()
				synctest.Wait()
			}
			pty.Output([]byte("\x1b\\ after"))
			synctest.Wait()
			a.draw()
			if got := a.vt.Lines(0)[0]; got != "before after" {
				t.Errorf("%q: shows %q", begin, got)
			}
			if n := a.redrawn; n > 10 {
				t.Errorf("%q: %d redraws", begin, n)
			}
		})
	}
}
