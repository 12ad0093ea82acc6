package wayout

import (
	"errors"
	"fmt"
	"net/netip"

	"staithe/internal/egress/policy"
)

// nameCheck looks at what a connection first says, where the address was
// admitted for a name's sake: many hosts share an address, and the one that is
// spoken to must be an allowed one. Nothing passes before it is known. On other
// ports than 80 and 443, what is neither TLS nor HTTP passes.
type nameCheck struct {
	policy *policy.Policy
	dst    netip.AddrPort
	refuse func(name, why string)

	held   []byte
	passed bool
}

var errRefused = errors.New("refused")

// strict says that nothing but TLS (443) or HTTP (80) may be spoken.
func (n *nameCheck) strict() bool { return n.dst.Port() == 443 || n.dst.Port() == 80 }

// add takes the sandbox's next bytes and returns those that may go on.
func (n *nameCheck) add(b []byte) ([]byte, error) {
	n.held = append(n.held, b...)
	var lead []byte
	if !n.strict() {
		// Blank lines before a request name nobody, and somebody may wait for an
		// answer to them.
		i := policy.Blank(n.held)
		lead, n.held = n.held[:i:i], n.held[i:]
	}
	if len(n.held) == 0 {
		return lead, nil
	}
	pass, err := n.look()
	if err != nil {
		return nil, err
	}
	return append(lead, pass...), nil
}

// look checks what is held.
func (n *nameCheck) look() ([]byte, error) {
	if n.held[0] == 22 && n.dst.Port() != 80 {
		name, err := policy.ServerName(n.held)
		return n.settle(name, 0, n.held, err)
	}
	if n.dst.Port() == 443 {
		return n.settle("", 0, nil, errors.New("port 443 speaks TLS only"))
	}
	if !n.strict() {
		is, err := policy.LooksLikeHTTP(n.held)
		if errors.Is(err, policy.ErrShort) {
			return nil, nil
		}
		if !is {
			n.passed = true
			return n.held, nil
		}
	}
	head, err := policy.RequestHead(n.held)
	if err != nil {
		return n.settle("", 0, nil, err)
	}
	return n.settle(head.Host, head.Port, append(head.Clean, n.held[head.Size:]...), nil)
}

// settle ends the check, or waits for more.
func (n *nameCheck) settle(name string, port uint16, pass []byte, err error) ([]byte, error) {
	if errors.Is(err, policy.ErrShort) {
		return nil, nil
	}
	if err != nil {
		n.refuse(name, fmt.Sprintf("The connection does not say whom it is for: %v.", err))
		return nil, errRefused
	}
	if !n.policy.NameAllowed(name, n.dst.Port()) || port != 0 && port != n.dst.Port() {
		n.refuse(name, "The connection is for a name that is not allowed.")
		return nil, errRefused
	}
	n.passed = true
	return pass, nil
}

// end is told that the sandbox will say no more, and returns what may still go
// on: a word without an end of the line is no request on other ports.
func (n *nameCheck) end() ([]byte, error) {
	switch {
	case n.passed || len(n.held) == 0:
		return nil, nil
	case !n.strict() && n.held[0] != 22 && !policy.SpeaksOfHTTP(n.held):
		n.passed = true
		return n.held, nil
	}
	n.refuse("", "The connection ended before it said whom it is for.")
	return nil, errRefused
}
