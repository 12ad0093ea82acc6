package wire

import (
	"encoding/json"
	"fmt"
	"time"
)

// ServerMessage is one control message from the guest: one of the pointer types
// below.
type ServerMessage interface{ serverType() string }

// Welcome answers hello.
type Welcome struct {
	Protocol int    `json:"protocol"`
	Session  string `json:"session"`
	You      You    `json:"you"`
	Window   int    `json:"window"` // bytes the guest sends beyond the last ack, at most
	PingS    int    `json:"ping_s"` // send a ping so often
	Tabs     []Tab  `json:"tabs"`
}

// You is the client as the guest knows it. Client is its public id, not the one
// it said in hello.
type You struct {
	Client string `json:"client"`
	User   string `json:"user"`
	Name   string `json:"name"`
	Role   string `json:"role"`
}

// Attached comes before any data on its channel.
type Attached struct {
	Req           Req    `json:"req,omitzero"`
	Tab           string `json:"tab"`
	Channel       uint8  `json:"channel"`
	Epoch         string `json:"epoch"`
	Offset        int64  `json:"offset"`
	Mode          string `json:"mode"` // ModeResume or ModeSnapshot
	SnapshotBytes int64  `json:"snapshot_bytes"`
	Cols          int    `json:"cols"`
	Rows          int    `json:"rows"`
	InputOffset   int64  `json:"input_offset"`
	Head          int64  `json:"head"` // the output's end at this moment: up to here the stream is the past
}

// The two ways to come in.
const (
	ModeResume   = "resume"
	ModeSnapshot = "snapshot"
)

// Detached says that a channel is free.
type Detached struct {
	Channel uint8 `json:"channel"`
}

// Tabs lists the session's tabs; Req is set when it answers list.
type Tabs struct {
	Req  Req   `json:"req,omitzero"`
	Tabs []Tab `json:"tabs"`
}

// Tab is one tab as everybody in the session sees it.
type Tab struct {
	Tab       string    `json:"tab"`
	Name      string    `json:"name"`
	Title     string    `json:"title"`
	Cwd       string    `json:"cwd"`
	Process   string    `json:"process"`
	Cols      int       `json:"cols"`
	Rows      int       `json:"rows"`
	Clients   int       `json:"clients"`
	Exited    bool      `json:"exited"`
	ExitCode  int       `json:"exit_code"`
	Signal    string    `json:"signal,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	ActiveAt  time.Time `json:"active_at"`
	// Command is the shell's last one, for whoever did not hear of it as it began or ended.
	Command *LastCommand `json:"command,omitempty"`
}

// LastCommand is a command of a shell (see Command), and whether it has ended.
type LastCommand struct {
	ID       int64 `json:"id"`
	Ended    bool  `json:"ended,omitempty"`
	ExitCode *int  `json:"exit_code,omitempty"` // where the shell says it
}

// Size says the terminal's size from the output byte Offset on.
type Size struct {
	Channel uint8 `json:"channel"`
	Cols    int   `json:"cols"`
	Rows    int   `json:"rows"`
	Offset  int64 `json:"offset"`
}

// InputAck says how many input bytes of this client went into the PTY.
type InputAck struct {
	Channel uint8 `json:"channel"`
	Offset  int64 `json:"offset"`
}

// Resync says that the next SnapshotBytes bytes of a channel are a redraw, then
// the stream goes on at Offset.
type Resync struct {
	Channel       uint8  `json:"channel"`
	Offset        int64  `json:"offset"`
	SnapshotBytes int64  `json:"snapshot_bytes"`
	Why           string `json:"why"`
}

// Presence lists who is attached to a tab.
type Presence struct {
	Tab     string   `json:"tab"`
	Clients []Client `json:"clients"`
}

// Client is one attached client as others see it.
type Client struct {
	Client string `json:"client"`
	User   string `json:"user"`
	Name   string `json:"name"`
	Role   string `json:"role"`
	Driver bool   `json:"driver"`
	Cols   int    `json:"cols"`
	Rows   int    `json:"rows"`
	IdleS  int    `json:"idle_s"`
}

// Exit says how a tab's shell ended. Offset is the output's last.
type Exit struct {
	Tab     string `json:"tab"`
	Channel *uint8 `json:"channel,omitempty"`
	Code    int    `json:"code"`
	Signal  string `json:"signal,omitempty"`
	Offset  int64  `json:"offset"`
}

// Error answers a request that could not be done.
type Error struct {
	Req     Req    `json:"req,omitzero"`
	Code    string `json:"code"`
	Message string `json:"message"` // a sentence that says what to do
}

// Notify says something that the session's person should know: that the kernel
// ended a program for want of memory (Code "oom"), or what a program says (Code
// "program", with its Tab). Text is a sentence; a program's is whatever it likes.
type Notify struct {
	Code  string `json:"code"`
	Tab   string `json:"tab,omitempty"`
	Title string `json:"title,omitempty"`
	Text  string `json:"text"`
}

// Title is what a tab's program calls its window (OSC 0 and 2).
type Title struct {
	Tab   string `json:"tab"`
	Title string `json:"title"`
}

// Cwd is the folder that a tab's program says it is in (OSC 7).
type Cwd struct {
	Tab string `json:"tab"`
	Cwd string `json:"cwd"`
}

// Bell is a program's BEL.
type Bell struct {
	Tab string `json:"tab"`
}

// Command says where in the output a shell's command begins or ends (OSC 133).
type Command struct {
	Tab        string `json:"tab"`
	ID         int64  `json:"id"`    // counts the tab's commands
	Phase      string `json:"phase"` // start or end
	Offset     int64  `json:"offset"`
	Line       string `json:"line,omitempty"` // at the start, where the shell says it
	ExitCode   *int   `json:"exit_code,omitempty"`
	DurationMS int64  `json:"duration_ms,omitempty"`
}

// Pong answers ping.
type Pong struct {
	T json.RawMessage `json:"t,omitempty"`
}

func (*Welcome) serverType() string  { return "welcome" }
func (*Attached) serverType() string { return "attached" }
func (*Detached) serverType() string { return "detached" }
func (*Tabs) serverType() string     { return "tabs" }
func (*Size) serverType() string     { return "size" }
func (*InputAck) serverType() string { return "ack" }
func (*Resync) serverType() string   { return "resync" }
func (*Presence) serverType() string { return "presence" }
func (*Exit) serverType() string     { return "exit" }
func (*Error) serverType() string    { return "error" }
func (*Notify) serverType() string   { return "notify" }
func (*Pong) serverType() string     { return "pong" }
func (*Title) serverType() string    { return "title" }
func (*Cwd) serverType() string      { return "cwd" }
func (*Bell) serverType() string     { return "bell" }
func (*Command) serverType() string  { return "command" }

// AppendServer appends a message as a control frame.
func AppendServer(dst []byte, m ServerMessage) []byte {
	return appendControl(dst, m.serverType(), m)
}

// appendControl writes {"type":…, fields…}. The messages are this package's own
// types and always encode.
func appendControl(dst []byte, typ string, m any) []byte {
	body, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("wire: %s does not encode: %v", typ, err))
	}
	dst = append(dst, ControlChannel)
	dst = append(dst, `{"type":"`...)
	dst = append(dst, typ...)
	dst = append(dst, '"')
	if len(body) > 2 {
		dst = append(dst, ',')
	}
	return append(dst, body[1:]...)
}

// ParseServer decodes the payload of a control frame from the guest. A type
// this version does not know comes back as nil without an error: newer guests
// may say more. Every error wraps ErrProtocol.
func ParseServer(payload []byte) (ServerMessage, error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := decodeObject(payload, &head); err != nil {
		return nil, err
	}
	var m ServerMessage
	switch head.Type {
	case "welcome":
		m = &Welcome{}
	case "attached":
		m = &Attached{}
	case "detached":
		m = &Detached{}
	case "tabs":
		m = &Tabs{}
	case "size":
		m = &Size{}
	case "ack":
		m = &InputAck{}
	case "resync":
		m = &Resync{}
	case "presence":
		m = &Presence{}
	case "exit":
		m = &Exit{}
	case "error":
		m = &Error{}
	case "notify":
		m = &Notify{}
	case "title":
		m = &Title{}
	case "cwd":
		m = &Cwd{}
	case "bell":
		m = &Bell{}
	case "command":
		m = &Command{}
	case "pong":
		m = &Pong{}
	default:
		return nil, nil
	}
	if err := json.Unmarshal(payload, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrProtocol, head.Type, err)
	}
	return m, nil
}
