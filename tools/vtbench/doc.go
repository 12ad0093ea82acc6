// Package vtbench measures internal/vt beside the other terminal emulators that
// could be had: two in Go, and xterm.js, which draws the page. It is a module of its
// own, so that none of them is a dependency of staithe.
package vtbench
