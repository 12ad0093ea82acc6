package vtbench

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	charm "github.com/charmbracelet/x/vt"
	"github.com/hinshun/vt10x"

	"staithe/internal/vt"
)

const chunk = 32 << 10 // what is read off a PTY at once

// texts are 4 MiB each: lines of a log, and what a full-screen program writes.
var texts = map[string][]byte{"plain": plain(), "ansi": ansi()}

func plain() []byte {
	var b strings.Builder
	for i := 0; b.Len() < 4<<20; i++ {
		fmt.Fprintf(&b, "%06d the quick brown fox jumps over the lazy dog and runs away %d\r\n", i, i*7)
	}
	return []byte(b.String())
}

func ansi() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < 4<<20 {
		fmt.Fprintf(&b, "\x1b[%d;1H\x1b[3%dm-rw-r--r--\x1b[0m 1 ada staff %6d Nov 29 10:%02d \x1b[1;38;5;%dmfile%d\x1b[0m \x1b[48;2;%d;20;30mx\x1b[49m\x1b[K",
			1+r.IntN(24), r.IntN(8), r.IntN(1<<20), r.IntN(60), r.IntN(256), r.IntN(1000), r.IntN(256))
		if r.IntN(4) == 0 {
			b.WriteString("\r\n")
		}
	}
	return []byte(b.String())
}

// cpu is the processor time that this process took, in all its threads: other
// programs on the machine do not count.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkParse is MB per second of processor time, 80 × 24, with a scrollback of
// 10,000 lines where there is one. ours-filter is what a terminal does: it draws, and
// takes the queries out.
func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"plain", "ansi"} {
		text := texts[name]
		write := map[string]func() io.Writer{
			"ours":        func() io.Writer { return vt.New(80, 24, vt.Options{}) },
			"ours-filter": func() io.Writer { return &filter{t: vt.New(80, 24, vt.Options{})} },
			"charm": func() io.Writer {
				e := charm.NewEmulator(80, 24)
				go io.Copy(io.Discard, e) // its answers
				return e
			},
			"vt10x": func() io.Writer { return vt10x.New(vt10x.WithSize(80, 24), vt10x.WithWriter(io.Discard)) },
		}
		for _, who := range []string{"ours", "ours-filter", "charm", "vt10x"} {
			b.Run(name+"/"+who, func(b *testing.B) {
				w := write[who]()
				before := cpu()
				for b.Loop() {
					for i := 0; i < len(text); i += chunk {
						if _, err := w.Write(text[i:min(i+chunk, len(text))]); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(len(text))*float64(b.N)/1e6/(cpu()-before).Seconds(), "MB/cpu-s")
			})
		}
		b.Run(name+"/xterm.js", func(b *testing.B) { xterm(b, text) })
	}
}

type filter struct {
	t   *vt.Terminal
	out []byte
}

func (f *filter) Write(p []byte) (int, error) {
	f.out = f.t.Filter(f.out[:0], p)
	return len(p), nil
}

// xterm measures @xterm/headless in a Node of its own.
func xterm(b *testing.B, text []byte) {
	file := filepath.Join(b.TempDir(), "text")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		out, err := exec.Command("node", "../../web/tools/xterm-bench.mjs", file).Output()
		if err != nil {
			b.Fatal(err)
		}
		var r struct{ MB, Seconds float64 }
		if err := json.Unmarshal(out, &r); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.MB/r.Seconds, "MB/cpu-s")
	}
}

// BenchmarkMemory is what one terminal of 80 × 24 takes of the heap, empty and with
// 10,000 lines above it.
func BenchmarkMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for name, text := range map[string][]byte{"empty": nil, "10,000 lines": plain()[:10_030*72], "10,000 lines of ansi": []byte(strings.Repeat("\x1b[32mok\x1b[0m  \x1b[1mpackage/of/some/name\x1b[0m  0.123s  \x1b[38;5;240m(cached)\x1b[0m\r\n", 10_030))} {
		b.Run(name, func(b *testing.B) {
			const n = 20
			keep := make([]*vt.Terminal, n)
			for b.Loop() {
				clear(keep)
				before := heap()
				for i := range keep {
					keep[i] = vt.New(80, 24, vt.Options{})
					keep[i].Write(text)
				}
				b.ReportMetric(float64(heap()-before)/n/1024, "KiB")
			}
			runtime.KeepAlive(keep)
		})
	}
}

// BenchmarkSnapshot is the time and size of both redraws of a busy screen.
func BenchmarkSnapshot(b *testing.B) {
	t := vt.New(80, 24, vt.Options{})
	t.Write(plain())
	t.Write(ansi())
	for _, c := range []struct {
		name string
		make func() []byte
	}{{"full of 1,000 lines", func() []byte { return t.Snapshot(1000) }}, {"full of 10,000 lines", func() []byte { return t.Snapshot(10_000) }}, {"screen", t.Screen}} {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = len(c.make())
			}
			b.ReportMetric(float64(n)/1024, "KiB")
		})
	}
}
