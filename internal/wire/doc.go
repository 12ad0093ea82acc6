// Package wire is the mux v1 protocol: how all the tabs of a session share one
// WebSocket. doc/wire.md describes it for people; testdata/ holds vectors that
// this package's tests and the page's tests both run.
//
// Every message is binary: one byte of channel, then payload. Channels 0–254
// carry one terminal each, channel 255 one JSON object.
// The package only encodes and decodes; it holds no state and all of its
// functions are safe for concurrent use.
package wire
