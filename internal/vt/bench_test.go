package vt

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func plainText() []byte {
	var b strings.Builder
	for i := 0; b.Len() < 1<<20; i++ {
		fmt.Fprintf(&b, "%06d the quick brown fox jumps over the lazy dog and runs away %d\r\n", i, i*7)
	}
	return []byte(b.String())
}

func ansiText() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < 1<<20 {
		fmt.Fprintf(&b, "\x1b[%d;1H\x1b[3%dm-rw-r--r--\x1b[0m 1 \x1b[1;38;5;%dmfile%d\x1b[0m \x1b[48;2;%d;20;30mx\x1b[49m\x1b[K", 1+r.IntN(24), r.IntN(8), r.IntN(256), r.IntN(1000), r.IntN(256))
		if r.IntN(4) == 0 {
			b.WriteString("\r\n")
		}
	}
	return []byte(b.String())
}

func unicodeText() []byte {
	var b strings.Builder
	for b.Len() < 1<<20 {
		b.WriteString("日本語のテキスト и русский текст, naïve café — “quotes” 🙂 e\u0301\r\n")
	}
	return []byte(b.String())
}

func BenchmarkWrite(b *testing.B) {
	for name, text := range map[string][]byte{"plain": plainText(), "ansi": ansiText(), "unicode": unicodeText()} {
		b.Run(name, func(b *testing.B) {
			vt := New(80, 24, Options{})
			var out []byte
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				out = out[:0]
				for i := 0; i < len(text); i += 4096 {
					out = vt.Filter(out, text[i:min(i+4096, len(text))])
				}
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	vt := New(80, 24, Options{})
	vt.Write(plainText())
	vt.Write(ansiText())
	for name, f := range map[string]func() []byte{"full": func() []byte { return vt.Snapshot(1000) }, "screen": vt.Screen} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = len(f())
			}
			b.ReportMetric(float64(n), "bytes")
		})
	}
}
