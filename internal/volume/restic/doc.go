// Package restic drives the restic program: each operation is one run of it, in
// a jail that has the repository, restic's cache, and at most one folder to read
// or to write.
//
// The repositories are plain restic's. A snapshot holds what it is of under one
// name, Top ("/home"), whatever that is called on the host.
//
// Errors are station problems: a sentence that says what to do, and a Code by
// which to tell them (CodeOf).
package restic
