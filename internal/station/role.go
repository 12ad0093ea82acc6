package station

import "time"

// Role is what a client may do in a session. Each includes the ones before it.
type Role string

const (
	RoleViewer Role = "viewer" // watches
	RoleWriter Role = "writer" // types, opens tabs, closes the ones it opened
	RoleOwner  Role = "owner"  // everything
)

// Valid reports whether r is one of the three.
func (r Role) Valid() bool { return r.rank() > 0 }

// Allows reports whether r is at least need.
func (r Role) Allows(need Role) bool {
	return r.rank() >= need.rank() && r.rank() > 0 && need.rank() > 0
}

func (r Role) rank() int {
	switch r {
	case RoleViewer:
		return 1
	case RoleWriter:
		return 2
	case RoleOwner:
		return 3
	}
	return 0
}

// Scope says which door a ticket opens. A ticket opens exactly one.
type Scope string

const (
	ScopeTerminal  Scope = "terminal"
	ScopeMCPBridge Scope = "mcp-bridge"
	ScopePreview   Scope = "preview"
	ScopeFiles     Scope = "files"
)

// Valid reports whether s is a known scope.
func (s Scope) Valid() bool {
	switch s {
	case ScopeTerminal, ScopeMCPBridge, ScopePreview, ScopeFiles:
		return true
	}
	return false
}

// Ticket is a single-use right to open one door of one session within a
// minute. Its secret is shown once and stored as SHA-256. Issuer is the login
// or API token it was made with: when that ends, what the ticket opened ends.
type Ticket struct {
	ID        ID
	User      ID
	Session   ID
	Tab       ID // empty: all tabs
	Scope     Scope
	Role      Role
	Issuer    Credential
	ExpiresAt time.Time
}

// TicketLife is how long a ticket may wait to be used.
const TicketLife = 60 * time.Second

// CredentialKind says by what a request proved who it is from.
type CredentialKind string

const (
	CredentialLogin CredentialKind = "login" // browser cookie
	CredentialToken CredentialKind = "token" // API token
)

// Credential names the durable right behind a request or a live connection:
// when it is revoked, everything opened with it ends within 5 s.
type Credential struct {
	Kind CredentialKind
	ID   ID
	User ID
}
