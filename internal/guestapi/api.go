package guestapi

import "staithe/internal/station"

// The guest's routes. {tab} is an id or a name.
const (
	PathHealth = "/v1/health" // GET, no identity: Health
	PathMux    = "/v1/mux"    // GET, WebSocket: mux v1
	PathTabs   = "/v1/tabs"   // GET: []station.Tab; POST TabCreate: station.Tab
	// PathTabs + "/{tab}"    PATCH TabPatch: station.Tab; DELETE: 204
)

// Health says that the guest lives and who it is.
type Health struct {
	Session station.ID `json:"session"`
	Version string     `json:"version"`
	Tabs    int        `json:"tabs"`
	Clients int        `json:"clients"` // live mux connections
}

// TabCreate opens a tab without attaching to it.
type TabCreate struct {
	Name    string            `json:"name,omitempty"`
	Cols    int               `json:"cols,omitempty"` // default 80
	Rows    int               `json:"rows,omitempty"` // default 24
	Cwd     string            `json:"cwd,omitempty"`
	Command []string          `json:"command,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
}

// TabPatch changes a tab.
type TabPatch struct {
	Name string `json:"name"`
}

// Failure is the body of every answer that is not 2xx.
type Failure struct {
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
}
