// Package egress is a session's way out: one process per session
// (cmd/staithe-egress) that carries its packets to the outside as the class's
// policy says, answers its DNS, and keeps a log of what it refused. The process
// outlives the gateway and ends with the sandbox.
//
// This package is the gateway's side: it starts, finds, asks and ends those
// processes. package wayout is what runs in one, package policy decides.
package egress
