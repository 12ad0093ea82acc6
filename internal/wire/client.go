package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
)

// ClientMessage is one control message from a client: one of the pointer types
// below.
type ClientMessage interface{ clientType() string }

// Hello is the first message on every connection.
type Hello struct {
	Client string `json:"client"` // the client's own stable id, 16–64 url-safe characters
	Name   string `json:"name,omitempty"`
}

// Open starts a new tab and attaches to it.
type Open struct {
	Req     Req               `json:"req"`
	Cols    int               `json:"cols"`
	Rows    int               `json:"rows"`
	Name    string            `json:"name,omitempty"`
	Cwd     string            `json:"cwd,omitempty"`
	Command []string          `json:"command,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Look
}

// Attach joins a tab, resuming at Offset when Epoch still names its life.
type Attach struct {
	Req        Req    `json:"req"`
	Tab        string `json:"tab"` // id or name
	Cols       int    `json:"cols"`
	Rows       int    `json:"rows"`
	Epoch      string `json:"epoch,omitempty"`
	Offset     *int64 `json:"offset,omitempty"`
	Live       bool   `json:"live,omitempty"`
	Scrollback *int   `json:"scrollback,omitempty"`
	Restart    bool   `json:"restart,omitempty"` // an ended tab gets a new shell, and a new epoch
	Look
}

// Look is what the client draws with. What is left out stays as it was.
type Look struct {
	Theme  *Theme `json:"theme,omitempty"`
	CellPx []int  `json:"cell_px,omitempty"` // width and height of a cell
}

// Theme is what the client draws with, for the emulator's answers to queries.
type Theme struct {
	Fg      string   `json:"fg,omitempty"`
	Bg      string   `json:"bg,omitempty"`
	Cursor  string   `json:"cursor,omitempty"`
	Palette []string `json:"palette,omitempty"`
}

// Detach leaves a channel.
type Detach struct {
	Channel uint8 `json:"channel"`
}

// Resize says the size of this client's view of a channel, in cells.
type Resize struct {
	Channel uint8 `json:"channel"`
	Cols    int   `json:"cols"`
	Rows    int   `json:"rows"`
}

// Ack says that output up to Offset was drawn; with Snapshot, that Offset bytes
// of the snapshot being received were.
type Ack struct {
	Channel  uint8 `json:"channel"`
	Offset   int64 `json:"offset"`
	Snapshot bool  `json:"snapshot,omitempty"`
}

// Drive makes the client the driver of a channel's terminal.
type Drive struct {
	Channel uint8 `json:"channel"`
	Look
}

// Rename gives a tab another name.
type Rename struct {
	Tab  string `json:"tab"`
	Name string `json:"name"`
}

// Close ends a tab: SIGHUP, SIGKILL after 5 s, and off the list.
type Close struct {
	Tab string `json:"tab"`
}

// Signal goes to the foreground process group of a channel's terminal.
type Signal struct {
	Channel uint8  `json:"channel"`
	Signal  string `json:"signal"`
}

// List asks for tabs.
type List struct {
	Req Req `json:"req"`
}

// Ping asks for a pong with the same t.
type Ping struct {
	T json.RawMessage `json:"t,omitempty"`
}

// UnknownType is a well-formed message of a type this version does not know:
// answered with an error, the connection lives on.
type UnknownType struct {
	Type string
	Req  Req
}

func (*Hello) clientType() string         { return "hello" }
func (*Open) clientType() string          { return "open" }
func (*Attach) clientType() string        { return "attach" }
func (*Detach) clientType() string        { return "detach" }
func (*Resize) clientType() string        { return "resize" }
func (*Ack) clientType() string           { return "ack" }
func (*Drive) clientType() string         { return "drive" }
func (*Rename) clientType() string        { return "rename" }
func (*Close) clientType() string         { return "close" }
func (*Signal) clientType() string        { return "signal" }
func (*List) clientType() string          { return "list" }
func (*Ping) clientType() string          { return "ping" }
func (m *UnknownType) clientType() string { return m.Type }

// Req is the client's own label of a request: a number or a string, given back
// as it came.
type Req struct{ raw json.RawMessage }

// StringReq makes a label of a string.
func StringReq(s string) Req {
	b, _ := json.Marshal(s) // a string always encodes
	return Req{b}
}

// Zero reports whether there is no label.
func (r Req) Zero() bool { return len(r.raw) == 0 }

// IsZero is Zero under the name that encoding/json's omitzero looks for.
func (r Req) IsZero() bool { return r.Zero() }

// String returns the label as JSON.
func (r Req) String() string { return string(r.raw) }

// MarshalJSON gives the label back as it came.
func (r Req) MarshalJSON() ([]byte, error) {
	if r.Zero() {
		return []byte("null"), nil
	}
	return r.raw, nil
}

// UnmarshalJSON takes a number or a string of at most 64 bytes.
func (r *Req) UnmarshalJSON(b []byte) error {
	if len(b) > 64 || len(b) == 0 || !(b[0] == '"' || b[0] == '-' || b[0] >= '0' && b[0] <= '9') {
		return fmt.Errorf("req must be a number or a short string")
	}
	r.raw = bytes.Clone(b)
	return nil
}

const (
	maxSide    = 4096 // columns or rows; beyond that a size is a mistake or an attack
	maxNameLen = 64
	maxTabRef  = 64
	maxArgv    = 256
)

var clientID = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)

// newClientMessage makes an empty message of a type, nil if it is unknown.
func newClientMessage(typ string) ClientMessage {
	switch typ {
	case "hello":
		return &Hello{}
	case "open":
		return &Open{}
	case "attach":
		return &Attach{}
	case "detach":
		return &Detach{}
	case "resize":
		return &Resize{}
	case "ack":
		return &Ack{}
	case "drive":
		return &Drive{}
	case "rename":
		return &Rename{}
	case "close":
		return &Close{}
	case "signal":
		return &Signal{}
	case "list":
		return &List{}
	case "ping":
		return &Ping{}
	}
	return nil
}

// ParseClient decodes and checks the payload of a control frame from a client.
// Every error wraps ErrProtocol. Unknown fields are allowed (newer clients),
// unknown types come back as *UnknownType, wrong types and sizes are errors.
func ParseClient(payload []byte) (ClientMessage, error) {
	var head struct {
		Type *string `json:"type"`
	}
	if err := decodeObject(payload, &head); err != nil {
		return nil, err
	}
	if head.Type == nil {
		return nil, fmt.Errorf("%w: control message without a type", ErrProtocol)
	}
	m := newClientMessage(*head.Type)
	if m == nil {
		u := &UnknownType{Type: *head.Type}
		var r struct {
			Req Req `json:"req"`
		}
		if json.Unmarshal(payload, &r) == nil {
			u.Req = r.Req
		}
		return u, nil
	}
	if err := checkPresent(payload, *head.Type); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(payload, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrProtocol, *head.Type, err)
	}
	if err := check(m); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrProtocol, *head.Type, err)
	}
	return m, nil
}

// required names the fields whose absence would silently act on channel 0 or
// on a zero.
var required = map[string][]string{
	"open": {"req", "cols", "rows"}, "attach": {"req", "tab", "cols", "rows"},
	"detach": {"channel"}, "resize": {"channel", "cols", "rows"}, "ack": {"channel", "offset"},
	"drive": {"channel"}, "signal": {"channel", "signal"}, "list": {"req"},
}

func checkPresent(payload []byte, typ string) error {
	names := required[typ]
	if len(names) == 0 {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(payload, &fields); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrProtocol, typ, err)
	}
	for _, n := range names {
		if v, ok := fields[n]; !ok || string(v) == "null" {
			return fmt.Errorf("%w: %s: %s is missing", ErrProtocol, typ, n)
		}
	}
	return nil
}

func decodeObject(payload []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(payload))
	if t := bytes.TrimLeft(payload, " \t\r\n"); len(t) == 0 || t[0] != '{' {
		return fmt.Errorf("%w: a control message is one JSON object", ErrProtocol)
	}
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: control message: %v", ErrProtocol, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("%w: more than one object in a control message", ErrProtocol)
	}
	return nil
}

func check(m ClientMessage) error {
	switch m := m.(type) {
	case *Hello:
		if !clientID.MatchString(m.Client) {
			return fmt.Errorf("client must be 16–64 url-safe characters")
		}
		return checkLen("name", m.Name, maxNameLen)
	case *Open:
		return checkOpen(m)
	case *Attach:
		if m.Offset != nil && *m.Offset < 0 {
			return fmt.Errorf("offset is negative")
		}
		if m.Scrollback != nil && (*m.Scrollback < 0 || *m.Scrollback > 1_000_000) {
			return fmt.Errorf("scrollback must be 0–1000000")
		}
		if err := checkTab(m.Tab); err != nil {
			return err
		}
		return CheckSize(m.Cols, m.Rows)
	case *Resize:
		return CheckSize(m.Cols, m.Rows)
	case *Ack:
		if m.Offset < 0 {
			return fmt.Errorf("offset is negative")
		}
	case *Rename:
		return checkTab(m.Tab)
	case *Close:
		return checkTab(m.Tab)
	case *Ping:
		if len(m.T) > 64 {
			return fmt.Errorf("t is over 64 bytes")
		}
	}
	return nil
}

func checkOpen(m *Open) error {
	if len(m.Command) > maxArgv || len(m.Env) > maxArgv {
		return fmt.Errorf("command or env has over %d entries", maxArgv)
	}
	return CheckSize(m.Cols, m.Rows)
}

func checkTab(ref string) error {
	if ref == "" {
		return fmt.Errorf("tab is missing")
	}
	return checkLen("tab", ref, maxTabRef)
}

func checkLen(what, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%s is over %d bytes", what, most)
	}
	return nil
}

// CheckSize says whether a client can have so many columns and rows. A terminal may
// have fewer rows: see the message Size.
func CheckSize(cols, rows int) error {
	if cols < 1 || rows < 1 || cols > maxSide || rows > maxSide {
		return fmt.Errorf("cols and rows must be 1–%d", maxSide)
	}
	return nil
}

// AppendClient appends a message as a control frame.
func AppendClient(dst []byte, m ClientMessage) []byte {
	return appendControl(dst, m.clientType(), m)
}
