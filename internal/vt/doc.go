// Package vt is a headless terminal: it reads what programs write to a terminal
// and knows at any moment what a person would see. It behaves as xterm.js with
// its grapheme addon does, cell by cell, so that a page can be given a snapshot
// instead of the past; differential tests hold it to that.
//
//	t := vt.New(80, 24, vt.Options{Answer: func(b []byte) { pty.Write(b) }})
//	t.Write(output)                // draw
//	stream = t.Filter(stream, p)   // draw, and keep all but queries
//	t.Resize(120, 40)
//	redraw := t.Snapshot(1000)     // a fresh xterm.js becomes equal
//
// Queries (DA, DSR, DECRQM, colours and so on) are answered through
// Options.Answer, exactly those that xterm.js answers. Filter leaves them out of
// what it returns, so that nobody else answers them too, and with them those that
// other terminals answer.
//
// Memory is bounded whatever is written: the scrollback by its lines, texts,
// links, clusters, unfinished sequences and snapshots each by a limit of its own.
//
// The parser is the state machine of Paul Flo Williams
// (https://vt100.net/emu/dec_ansi_parser) with the changes that xterm.js made:
// sub-parameters, and UTF-8 decoded first, so that C1 controls are code points.
package vt
