package guestapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"staithe/internal/station"
)

// The guest's routes about a session's life; all want an identity.
const (
	PathActivity = "/v1/activity" // GET ?seen=ID: Activity
	PathPark     = "/v1/park"     // GET: Parked, of what runs on; POST: Parked, after everything was asked to end
	PathRestore  = "/v1/restore"  // POST Restore: 204
	PathShutdown = "/v1/shutdown" // POST: 204, after everything was asked to end
	PathNotice   = "/v1/notice"   // POST Notice: 204
)

const (
	// MaxKeepAwake is the longest that a session is kept awake by one wish.
	MaxKeepAwake = 7 * 24 * time.Hour
	// ParkGrace is how long programs have to end once they were asked to.
	ParkGrace = 3 * time.Second
	// MaxParkedTab and MaxParked bound what is kept of a tab's output, and of all
	// a session's.
	MaxParkedTab = 256 << 10
	MaxParked    = 16 << 20
	// MaxParkedJSON bounds the document: output in base64, and 250 tabs' names,
	// folders and commands.
	MaxParkedJSON = MaxParked/3*4 + 4<<20
)

// ParseKeepAwake reads for how long a person wants a session kept awake: 2h, 90m;
// off and 0 are 0, which ends it. The error is a sentence.
func ParseKeepAwake(text string) (time.Duration, error) {
	if text == "off" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second && d != 0 {
		return 0, fmt.Errorf("%+.40q is no duration; say 2h, 90m or off", text)
	}
	return d, nil
}

// Activity says whether a session is in use. Rates are of the time since the
// gateway asked before.
type Activity struct {
	Clients   int    `json:"clients"`   // live mux connections
	Processes int    `json:"processes"` // but the guest
	CPU       *Busy  `json:"cpu,omitempty"`
	Disk      *Busy  `json:"disk,omitempty"`
	Network   *Busy  `json:"network,omitempty"`
	KeepAwake *Awake `json:"keep_awake,omitempty"` // wished for from inside, until the gateway has seen it
}

// Busy is the program that uses the most of something. PID is 0 where it is not
// known whose the use is.
type Busy struct {
	PID  int     `json:"pid"`
	Name string  `json:"name"` // "cargo build"
	Rate float64 `json:"rate"` // cores; bytes a second
}

// Awake is a wish from inside to be kept awake; 0 seconds ends it.
type Awake struct {
	ID      string `json:"id"`
	Seconds int64  `json:"seconds"` // from now
}

// Parked is what is kept of a session whose sandbox ends.
type Parked struct {
	Tabs []ParkedTab `json:"tabs"`
}

// ParkedTab is one tab. Where its program had ended, a new shell takes its place
// below what it showed.
type ParkedTab struct {
	ID        station.ID `json:"tab"`
	Name      string     `json:"name"`
	Opener    station.ID `json:"opener"`
	CreatedAt time.Time  `json:"created_at"`
	Cwd       string     `json:"cwd"`
	Cols      int        `json:"cols"`
	Rows      int        `json:"rows"`
	Ran       string     `json:"ran,omitempty"` // what was in the foreground, when it was not the shell
	Output    []byte     `json:"output"`        // the newest of it, made safe to draw again
}

// Restore gives a new guest the tabs of the one before. Line is shown in each,
// between what it showed and its new shell.
type Restore struct {
	Line string      `json:"line"`
	Tabs []ParkedTab `json:"tabs"`
}

// Notice is something that the session's person should know now.
type Notice struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

const (
	// askTimeout bounds a question that a well guest answers at once.
	askTimeout = 3 * time.Second
	// parkTimeout bounds ending everything politely.
	parkTimeout = ParkGrace + 3*time.Second
)

// Activity asks what the session does. seen is the id of the last keep-awake
// that the gateway took over; the guest forgets it.
func (c *Client) Activity(ctx context.Context, id Identity, seen string) (Activity, error) {
	var a Activity
	err := c.exchange(ctx, exchange{method: http.MethodGet, path: PathActivity + "?seen=" + url.QueryEscape(seen), as: &id, out: &a, limit: 64 << 10, timeout: askTimeout})
	return a, err
}

// Snapshot asks for what would be kept of the session, which runs on.
func (c *Client) Snapshot(ctx context.Context, id Identity) (Parked, error) {
	var p Parked
	err := c.exchange(ctx, exchange{method: http.MethodGet, path: PathPark, as: &id, out: &p, limit: MaxParkedJSON, timeout: askTimeout})
	return p, err
}

// Park asks every program to end, waits ParkGrace at most, and returns what is
// kept of the session. The guest takes no requests of doors any more.
func (c *Client) Park(ctx context.Context, id Identity) (Parked, error) {
	var p Parked
	err := c.exchange(ctx, exchange{method: http.MethodPost, path: PathPark, as: &id, out: &p, limit: MaxParkedJSON, timeout: parkTimeout})
	return p, err
}

// Shutdown is Park where nothing is to be kept.
func (c *Client) Shutdown(ctx context.Context, id Identity) error {
	return c.exchange(ctx, exchange{method: http.MethodPost, path: PathShutdown, as: &id, timeout: parkTimeout})
}

// Restore gives a fresh guest the tabs of the one before.
func (c *Client) Restore(ctx context.Context, id Identity, r Restore) error {
	return c.exchange(ctx, exchange{method: http.MethodPost, path: PathRestore, as: &id, in: r, timeout: callTimeout})
}

// Notify shows a notice in the session's tabs.
func (c *Client) Notify(ctx context.Context, id Identity, n Notice) error {
	return c.exchange(ctx, exchange{method: http.MethodPost, path: PathNotice, as: &id, in: n, timeout: askTimeout})
}
