// Package files is what can be done with the files of one home: list, read,
// write, move, copy, trash, pack and search. Everything goes through one os.Root
// and never past it, whatever links a hostile program puts in the way while it
// runs; what is not a regular file or folder (a FIFO, a device) is never opened.
//
// It knows no HTTP and no users: it acts with the rights of its process, which is
// meant to be jailed to the home (doc/decisions/0024).
package files
