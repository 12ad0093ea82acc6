package terminal

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// A program that may choose every byte it writes, such as a file that is shown,
// chooses none that is typed: answers hold nothing of what was asked but numbers
// and colours, and the clipboard is never read.
func TestAbuse29_NothingChosenIsTyped(t *testing.T) {
	const secret = "rm -rf ~"
	hex := fmt.Sprintf("%x", secret)
	for _, asked := range []string{
		"\x1b]2;" + secret + "\x07\x1b[21t", // title report
		"\x1b]1;" + secret + "\x07\x1b[20t", // icon label
		"\x1b]52;c;" + base64.StdEncoding.EncodeToString([]byte(secret)) + "\x07\x1b]52;c;?\x07",
		"\x1b]52;;?\x1b\\", "\x1b]52;p;?\x07", "\x05", // ENQ
		"\x1bP$q" + secret + "\x1b\\", "\x1bP+q" + hex + "\x1b\\", "\x1bP$q" + strings.Repeat("x", 1<<20) + "\x1b\\",
		"\x1b]4;1;" + secret + "\x07\x1b]4;1;?\x07", "\x1b]10;" + secret + ";?\x07", "\x1b]11;?;" + secret + "\x07",
		"\x1b[?" + strings.Repeat("9", 1000) + "$p", "\x1b[>q", "\x1b[=c", "\x1bZ", "\x1b[19t", "\x1b[?15n\x1b[?25n\x1b[?26n",
		"\x1b]50;?\x07", "\x1b]7;file://" + secret + "\x07", "\x1b]133;C;" + secret + "\x07", "\x1b]1337;ReportVariable=" + secret + "\x07", "\x1b]1337;ReportCellSize\x07",
		"\x1b_Ga=q,i=31;" + secret + "\x1b\\", "\x1bP+p" + hex + "\x1b\\", "\x1b]99;i=1:p=?;" + secret + "\x07", "\x1b[?996n", "\x1b[#R", "\x1b[1$w\x1b[2$w",
	} {
		synctest.Test(t, func(t *testing.T) {
			term, pty := scripted(t, Options{})
			pty.Output([]byte(asked))
			pty.Output([]byte("\r\n\x1b\\end\r\n"))
			synctest.Wait()
			typed := pty.Typed()
			if strings.Contains(typed, "rm") || strings.Contains(typed, hex) || strings.ContainsAny(typed, "\r\n\x03\x04") || len(typed) > 2000 {
				t.Errorf("%.60q types %.100q", asked, typed)
			}
			if strings.Contains(asked, "]52") && typed != "" {
				t.Errorf("%.60q: the clipboard's answer %q", asked, typed)
			}
			a := watch(term, Join{}) // panics when it is asked something
			a.draw()
		})
	}
}

// Sequences without an end, images and whatever else is huge take a bounded part
// of the guest's memory, and the terminal works afterwards.
func TestAbuse29_HugeSequences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		memory := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := memory()
		piece := bytes.Repeat([]byte("0123456789abcde;"), 4<<10)
		for _, start := range []string{"\x1b]0;", "\x1b]52;c;", "\x1bPq#0;2;0;0;0", "\x1b]1337;File=inline=1:", "\x1b_G", "\x1bX", "\x1b[", "\x1b]8;;"} {
			pty.Output([]byte(start))
			for range 64 { // 4 MiB
				pty.Output(piece)
				synctest.Wait()
			}
			pty.Output([]byte("\x18\x1b\\"))
		}
		for i := range 20_000 { // links and clusters, each another
			pty.Output(fmt.Appendf(nil, "\x1b]8;id=%d;https://example.org/%d\x1b\\x\x1b]8;;\x1b\\e%s", i, i, strings.Repeat("\u0301", 300)))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		pty.Output([]byte("\x1bcfine\r\n"))
		synctest.Wait()
		if grew := int64(memory()) - int64(before); grew > 40<<20 {
			t.Errorf("%d MiB are kept", grew>>20)
		}
		if got := term.Screen(0, false); got.Lines[0] != "fine" {
			t.Errorf("%q", got.Lines)
		}
	})
}
