package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/station"
	"staithe/internal/wire"
)

// helloLife is how long a connection to /ws/hello lasts at most.
const helloLife = 5 * time.Minute

// hello is GET /ws/hello: it says hello and echoes, so that somebody behind a
// proxy sees whether WebSockets pass at all. It asks for no login.
func (g *Gateway) hello(w http.ResponseWriter, r *http.Request) {
	err := checkUpgrade(r)
	if err == nil {
		_, err = checkOrigin(r, requestOf(r.Context()).own)
	}
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	l, err := g.live.add(station.Credential{}, "")
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	defer g.live.remove(l)
	conn, err := accept(w, r, "")
	if err != nil {
		return // the library has answered
	}
	conn.SetReadLimit(wire.MaxMessage)
	ctx, cancel := context.WithTimeout(context.Background(), helloLife)
	defer cancel()
	echoed := make(chan struct{})
	go func() { // ends when the connection does; waited for below
		defer close(echoed)
		err := echo(ctx, conn)
		l.end(closedBy(err, byClient))
	}()
	<-l.ended
	closeClient(conn, connOf(r.Context()), l.why, g.timing.force)
	<-echoed
}

func echo(ctx context.Context, conn *websocket.Conn) error {
	if err := say(ctx, conn, map[string]any{"type": "hello", "t": time.Now().UnixMilli()}); err != nil {
		return err
	}
	for {
		typ, msg, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if err := conn.Write(ctx, typ, msg); err != nil {
			return err
		}
	}
}

// say sends one JSON text message.
func say(ctx context.Context, conn *websocket.Conn, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return conn.Write(ctx, websocket.MessageText, b)
}
