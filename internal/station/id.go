package station

import (
	"crypto/rand"
	"fmt"
	"regexp"
)

// ID names one thing for ever: 12 characters of a–z and 0–9, random and
// global over all users and kinds. It carries no meaning and no secret.
type ID string

const (
	idLength   = 12
	idAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
)

var (
	idPattern   = regexp.MustCompile(`^[a-z0-9]{12}$`)
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,38}$`)
)

// NewID returns a fresh random id (62 bits). It is safe for concurrent use.
func NewID() ID {
	out := make([]byte, 0, idLength)
	var buf [32]byte
	for len(out) < idLength {
		rand.Read(buf[:]) // never fails: crypto/rand aborts the process instead
		for _, b := range buf {
			// 252 is the largest multiple of 36 in a byte: no letter is likelier.
			if b < 252 && len(out) < idLength {
				out = append(out, idAlphabet[b%36])
			}
		}
	}
	return ID(out)
}

// Valid reports whether the id has the form of one.
func (id ID) Valid() bool { return idPattern.MatchString(string(id)) }

// CheckName says whether s may name a user, a session or a tab. Names are the
// person's own, lower case, and are refused rather than folded: two names that
// look alike are two things or an error, never one thing.
// The error wraps ErrInvalid.
func CheckName(what, s string) error {
	if namePattern.MatchString(s) {
		return nil
	}
	return Errorf(ErrInvalid, "bad_name",
		"The %s name %s is not usable: take 1 to 39 of a–z, 0–9 and -, not starting with -.", what, quote(s))
}

// quote shows hostile text inert and short.
func quote(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return fmt.Sprintf("%+q", s)
}
