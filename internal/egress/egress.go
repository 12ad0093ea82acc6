package egress

import (
	"time"

	"staithe/internal/station"
)

// Spec is all that one session's way out needs.
type Spec struct {
	Session station.ID
	Policy  station.NetworkPolicy
	NetNS   string // path of the sandbox's network namespace
	Owner   int    // a process in the user namespace that owns it; 0: the host's
	Until   int    // the process with whose end the way out ends; 0: Stop ends it
}

// Info is one way out that was found.
type Info struct {
	Session station.ID
	Running bool // false: something is left of it, nothing runs
	PID     int
}

// Status is what a way out has done.
type Status struct {
	In, Out int64 // bytes that came in and went out
	Refused []Refusal
}

// Refusal is one destination that the policy refused, newest first in a list.
type Refusal struct {
	Name    string    `json:"name"`    // as asked of our DNS; empty when only an address was used
	Address string    `json:"address"` // empty when the name was not resolved
	Port    int       `json:"port"`    // 0 for a name that was not resolved
	Network string    `json:"network"` // tcp, udp, icmp or dns
	Why     string    `json:"why"`     // a sentence
	Count   int       `json:"count"`
	Last    time.Time `json:"last"`
}
