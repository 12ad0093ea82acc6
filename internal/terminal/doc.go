// Package terminal is one terminal: a process on a PTY, the log of its output,
// and the clients that watch it and type. It knows no wire format: doors pull
// output with Attachment.Next and push input with Attachment.Input.
//
// The rules it keeps (doc/wire.md):
//   - one reader per PTY, which waits for no client's socket: clients pull;
//   - output is addressed by offset from birth, so a client that comes back
//     goes on at its next byte;
//   - all output goes through an emulator, which answers what programs ask, takes
//     the questions out, and draws the screen for who comes late;
//   - input is counted per client, so what a client sends again is told from
//     what is new;
//   - what is written but not yet sent is capped, apart from the log.
package terminal
