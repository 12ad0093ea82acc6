package guestapi

import "staithe/internal/station"

// ConfigEnv is the environment variable in which the sandbox hands the guest
// its Config as JSON. It holds no secret.
const ConfigEnv = "STAITHE_GUEST_CONFIG"

// ListenFD is the descriptor of the listening socket the host passes in.
const ListenFD = 3

// SocketEnv, when it is set, is the path of a unix socket from which a guest that
// could inherit nothing fetches its listening socket: one byte with one
// descriptor (unix(7), SCM_RIGHTS).
const SocketEnv = "STAITHE_GUEST_SOCKET"

// ListenEnv, when it is set, is the path at which a guest makes its listening
// socket itself: where the kernel of a sandbox cannot accept connections on a
// socket of the host's (gVisor).
const ListenEnv = "STAITHE_GUEST_LISTEN"

// Config is what a guest is told at birth.
type Config struct {
	Session   station.ID `json:"session"`
	Name      string     `json:"name"`       // the session's name, for the prompt and the host name
	PublicKey []byte     `json:"public_key"` // Ed25519, of the gateway's signer
	User      string     `json:"user"`       // login name inside
	UID       int        `json:"uid"`        // shells run as this; 0 means the guest's own (no change)
	GID       int        `json:"gid"`
	Home      string     `json:"home"`
	Shell     string     `json:"shell"` // "/bin/bash"
	Env       []string   `json:"env"`   // for every shell, KEY=VALUE
}
