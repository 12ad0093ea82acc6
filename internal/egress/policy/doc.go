// Package policy decides where a session may connect. It is pure: it opens
// nothing, resolves nothing and reads no clock, so that every decision can be
// tried by tests and fuzzing. The same decisions hold for the userspace stack
// and the fast path.
package policy
