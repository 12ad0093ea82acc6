// Package fleet is a session's life: made, woken, put to sleep, deleted, found
// again after the gateway was killed.
//
// Three things can disagree about a session: its record, its sandbox, and the
// guest in it. The record says what the person wants; fleet makes the other two
// follow, and says "running" only when the guest has answered. A living sandbox
// that a record wants is never destroyed but by the person.
package fleet
