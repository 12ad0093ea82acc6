// Package station is staithe's vocabulary: the things every room talks about
// (users, workstations, sessions, tabs, roles, tickets), their ids and names,
// and the sentinels that errors wrap. It validates and does nothing else.
//
// All types are plain values; copying them is safe, sharing one between
// goroutines needs the caller's own lock.
package station
