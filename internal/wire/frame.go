package wire

import (
	"errors"
	"fmt"
)

const (
	// Subprotocol is offered and chosen in Sec-WebSocket-Protocol.
	Subprotocol = "staithe.mux.v1"
	// TicketPrefix starts the second offered subprotocol that carries a ticket.
	TicketPrefix = "staithe.ticket."
	// Version is what welcome says.
	Version = 1

	// ControlChannel carries JSON; all other channels carry a terminal.
	ControlChannel = 255
	// MaxChannels is how many terminals one connection can carry.
	MaxChannels = 255
	// MaxMessage is the largest message either side may send: channel and 64 KiB.
	MaxMessage = 64<<10 + 1
	// MaxOutput is the largest payload the guest puts into one output frame, so
	// that a flood on one channel lets another's bytes in between.
	MaxOutput = 32 << 10
)

// ErrProtocol is wrapped by every decoding error; the connection is closed with
// CloseProtocol and the error's text.
var ErrProtocol = errors.New("protocol error")

// Close codes of the mux (RFC 6455 section 7.4.2: 4000–4999 are private).
const (
	CloseNormal       = 1000 // asked for
	CloseGoingAway    = 1001 // the server stops; come back at once
	CloseProtocol     = 4400 // what was wrong is in the reason
	CloseUnauthorized = 4401 // no valid cookie or ticket, or it was revoked
	CloseForbidden    = 4403
	CloseNotFound     = 4404 // no such session
	CloseNoHello      = 4408 // hello not seen in time
	CloseReplaced     = 4409 // the same client connected again elsewhere
	CloseDeleted      = 4410 // the session was deleted
	CloseAsleep       = 4412 // the session sleeps
	CloseLimited      = 4429 // too many connections or channels
)

// Split takes a message apart. The payload aliases msg.
func Split(msg []byte) (channel uint8, payload []byte, err error) {
	if len(msg) == 0 {
		return 0, nil, fmt.Errorf("%w: empty message", ErrProtocol)
	}
	if len(msg) > MaxMessage {
		return 0, nil, fmt.Errorf("%w: message over %d bytes", ErrProtocol, MaxMessage)
	}
	return msg[0], msg[1:], nil
}

// AppendFrame appends a message to dst and returns the result.
func AppendFrame(dst []byte, channel uint8, payload []byte) []byte {
	return append(append(dst, channel), payload...)
}
