package station

import "time"

// SessionState is what a session is doing, as the API says it.
type SessionState string

const (
	StateStarting SessionState = "starting" // its sandbox is being made
	StateRunning  SessionState = "running"  // its guest answers
	StateAsleep   SessionState = "asleep"   // frozen, or no sandbox; a person's act wakes it
	StateFailed   SessionState = "failed"   // its sandbox could not be made; Reason says why
)

// Session is one isolated sandbox on top of a user's workstation.
type Session struct {
	ID        ID           `json:"id"`
	User      ID           `json:"-"`
	Name      string       `json:"name"`
	Class     string       `json:"class"`
	State     SessionState `json:"state"`
	Reason    string       `json:"reason,omitempty"` // why it is asleep or failed, one sentence
	CreatedAt time.Time    `json:"created_at"`
	ActiveAt  time.Time    `json:"active_at"`
	WhyAwake  string       `json:"why_awake"`

	SleptAt        time.Time `json:"asleep_since,omitzero"`
	KeepAwakeUntil time.Time `json:"keep_awake_until,omitzero"` // until then it does not go to sleep by itself
	Notice         Notice    `json:"notice,omitzero"`           // what happened to it that its person should know

	Frozen bool `json:"frozen,omitempty"` // asleep, and its sandbox is there with all its memory
	Holder ID   `json:"-"`                // the server that runs it; empty: none needs to
}

// Notice is something that happened to a session, shown until it is dismissed
// or the session is woken.
type Notice struct {
	Code string    `json:"code"` // stable, snake_case: "oom"
	Text string    `json:"text"` // a sentence
	At   time.Time `json:"at"`
}

// DefaultSession is the name of the session a fresh user has.
const DefaultSession = "main"

// Tab is one shell in a session, as the API and the mux show it.
type Tab struct {
	ID        ID        `json:"tab"`
	Name      string    `json:"name"`
	Title     string    `json:"title"`
	Cwd       string    `json:"cwd"`
	Process   string    `json:"process"`
	Cols      int       `json:"cols"`
	Rows      int       `json:"rows"`
	Clients   int       `json:"clients"`
	Exited    bool      `json:"exited"`
	ExitCode  int       `json:"exit_code"`
	Signal    string    `json:"signal,omitempty"` // the signal that ended it, "KILL"
	CreatedAt time.Time `json:"created_at"`
	ActiveAt  time.Time `json:"active_at"`
}

// Screen is what a tab shows at one moment.
type Screen struct {
	Epoch     string   `json:"epoch" doc:"The life of the terminal that the offset counts in"`
	Offset    int64    `json:"offset" doc:"The screen is that of the output up to here"`
	Cols      int      `json:"cols"`
	Rows      int      `json:"rows"`
	X         int      `json:"cursor_x" doc:"From 0; cols when the next character wraps"`
	Y         int      `json:"cursor_y" doc:"From 0, in the screen"`
	Visible   bool     `json:"cursor_visible"`
	Alternate bool     `json:"alternate" doc:"A full-screen program has the terminal"`
	Title     string   `json:"title"`
	Lines     []string `json:"lines" nullable:"false" doc:"Up to as many of the scrollback as were asked for, then one for each row"`
}

// MaxTabs is how many tabs a session has at most.
const MaxTabs = 250
