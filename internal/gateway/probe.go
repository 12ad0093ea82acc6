package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/station"
	"staithe/internal/wire"
)

// probeLimit is how long walking all hops may take.
const probeLimit = 20 * time.Second

// hop is one step of a keystroke's way, as the probe found it.
type hop struct {
	Hop    string `json:"hop"` // gateway, session, guest, mux
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// probe is GET /ws/terminal-probe?session=: it walks the way to a terminal hop
// by hop and says of each, as one text message, whether it works. It changes
// nothing and wakes nothing.
func (g *Gateway) probe(w http.ResponseWriter, r *http.Request) {
	who, err := g.admitSocket(r, "")
	if err == nil && who.ticket != nil {
		_, err = g.socketSession(r.Context(), who, r.URL.Query().Get("session"))
	}
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	l, err := g.live.add(who.Credential, "")
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	defer g.live.remove(l)
	conn, err := accept(w, r, "")
	if err != nil {
		return // the library has answered
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
	defer cancel()
	walked := make(chan struct{})
	go func() { // ends with ctx or the connection; waited for below
		defer close(walked)
		g.walk(conn.CloseRead(ctx), conn, who, r.URL.Query().Get("session"))
		l.end(ending{code: wire.CloseNormal, by: byGateway})
	}()
	<-l.ended
	closeClient(conn, connOf(r.Context()), l.why, g.timing.force)
	<-walked
}

// walk stops at the first hop that fails.
func (g *Gateway) walk(ctx context.Context, conn *websocket.Conn, who socketCaller, ref string) {
	report := func(name, detail string, err error) bool {
		h := hop{name, err == nil, detail}
		if err != nil {
			h.Detail = g.toProblem(ctx, err).Detail
		}
		return say(ctx, conn, h) == nil && err == nil
	}
	if !report("gateway", "signed in as "+who.User.Name, nil) {
		return
	}
	s, err := g.fleet.Get(ctx, who.User.ID, ref)
	if !report("session", fmt.Sprintf("%s is %s", s.Name, s.State), err) {
		return
	}
	guest, err := g.guest(ctx, s)
	if err != nil {
		report("guest", "", err)
		return
	}
	health, err := guest.Health(ctx)
	if !report("guest", fmt.Sprintf("version %s, %d tabs, %d clients", plain(health.Version), health.Tabs, health.Clients), fromGuest(err)) {
		return
	}
	start := time.Now()
	err = g.tryMux(ctx, who, s)
	report("mux", fmt.Sprintf("hello answered in %.1f ms", float64(time.Since(start).Microseconds())/1000), err)
}

// tryMux says hello to the guest as the least that may come, and wants welcome.
func (g *Gateway) tryMux(ctx context.Context, who socketCaller, s station.Session) error {
	who.ticket = &station.Ticket{Role: station.RoleViewer}
	conn, err := g.dialMux(ctx, who, s)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	ctx, cancel := context.WithTimeout(ctx, g.timing.dial)
	defer cancel()
	hello := wire.Hello{Client: "probe-" + strings.Repeat(string(station.NewID()), 2)}
	if err := conn.Write(ctx, websocket.MessageBinary, wire.AppendClient(nil, &hello)); err != nil {
		return probeFailed(err)
	}
	conn.SetReadLimit(wire.MaxMessage)
	_, msg, err := conn.Read(ctx)
	if err != nil {
		return probeFailed(err)
	}
	channel, payload, err := wire.Split(msg)
	if err != nil || channel != wire.ControlChannel {
		return probeFailed(errors.Join(err, errors.New("not a control message")))
	}
	m, err := wire.ParseServer(payload)
	if _, ok := m.(*wire.Welcome); err != nil || !ok {
		return probeFailed(errors.Join(err, errors.New("not a welcome")))
	}
	return nil
}

func probeFailed(err error) error {
	return station.Errorf(station.ErrUnavailable, "guest_mute",
		"The session's guest did not answer hello; put the session to sleep and wake it again.").Because(err)
}
