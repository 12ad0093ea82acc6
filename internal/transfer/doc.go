// Package transfer brings files from a laptop into a home and back: the client of
// the file API (doc/files.md) behind `staithe cp`, `ls`, `cat` and `sync`. What
// breaks off goes on by itself where it was. What the server says is not
// believed where it would write outside of the target.
package transfer
