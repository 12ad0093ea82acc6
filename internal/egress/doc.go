// Package egress is a session's way out: one process per session that carries
// its packets to the outside as the class's policy says, answers its DNS, and
// keeps a log of what it refused. The process outlives the gateway and ends
// with the sandbox.
package egress
