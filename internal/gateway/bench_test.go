package gateway

import (
	"context"
	"io"
	"testing"

	"github.com/coder/websocket"

	"staithe/internal/guestapi"
	"staithe/internal/wire"
)

// BenchmarkKeyEcho is a key there and back: through the gateway, and straight
// to the stub guest's socket. The difference is what the relay costs.
func BenchmarkKeyEcho(b *testing.B) {
	bench := newBench(b)
	root := bench.admin()
	guest := bench.fleet.guest(root.session("main").ID)
	guest.speaks(echoFast)
	straight, err := guest.client.Mux(b.Context(), owner(root.user), wire.Subprotocol)
	if err != nil {
		b.Fatal(err)
	}
	defer straight.CloseNow()
	for name, conn := range map[string]*websocket.Conn{"straight": straight, "relay": root.open("main")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			key, buf := []byte("\x00k"), make([]byte, 64)
			for b.Loop() {
				if err := conn.Write(context.Background(), websocket.MessageBinary, key); err != nil {
					b.Fatal(err)
				}
				if _, _, err := readMessage(conn, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFlood is output in the guest's largest frames, through the relay.
func BenchmarkFlood(b *testing.B) {
	bench := newBench(b)
	root := bench.admin()
	frame := make([]byte, wire.MaxOutput)
	bench.fleet.guest(root.session("main").ID).speaks(func(c *websocket.Conn, _ guestapi.Identity) {
		for c.Write(context.Background(), websocket.MessageBinary, frame) == nil {
		}
	})
	conn := root.open("main")
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		_, rd, err := conn.Reader(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, rd); err != nil {
			b.Fatal(err)
		}
	}
}

func echoFast(c *websocket.Conn, _ guestapi.Identity) {
	buf := make([]byte, wire.MaxMessage)
	for {
		typ, n, err := readMessage(c, buf)
		if err != nil || c.Write(context.Background(), typ, buf[:n]) != nil {
			return
		}
	}
}
