package station

import (
	"errors"
	"fmt"
)

// The kinds of failure that cross rooms. Every error a door answers with wraps
// one of them; anything else is a bare 500.
var (
	ErrInvalid         = errors.New("invalid")         // the request can never work as it is: 400/422
	ErrUnauthenticated = errors.New("unauthenticated") // who are you: 401
	ErrForbidden       = errors.New("forbidden")       // known, but may not: 403
	ErrNotFound        = errors.New("not found")       // is not there, or is another's: 404
	ErrConflict        = errors.New("conflict")        // the state of things forbids it: 409
	ErrGone            = errors.New("gone")            // was there, is revoked or deleted: 410
	ErrLimited         = errors.New("limited")         // too much, too fast: 429
	ErrUnavailable     = errors.New("unavailable")     // a part that should answer does not: 503
	ErrNoSpace         = errors.New("no space")        // disk or quota is full: 507
)

// Problem is an error with a stable code for programs and a sentence for the
// person that says what to do next. It wraps its kind, one of the sentinels
// above, and, where there is one, a cause that is for the log and never shown.
type Problem struct {
	Kind     error  // one of the sentinels
	Code     string // stable, snake_case
	Sentence string // shown to the person
	Cause    error  // may be nil; not shown
}

// Errorf makes a Problem of a kind, a code and a sentence.
func Errorf(kind error, code, format string, args ...any) *Problem {
	return &Problem{Kind: kind, Code: code, Sentence: fmt.Sprintf(format, args...)}
}

// Because returns a copy of p with its hidden cause set.
func (p *Problem) Because(cause error) *Problem {
	q := *p
	q.Cause = cause
	return &q
}

func (p *Problem) Error() string {
	if p.Cause != nil {
		return p.Sentence + ": " + p.Cause.Error()
	}
	return p.Sentence
}

// Unwrap lets errors.Is find the kind and the cause.
func (p *Problem) Unwrap() []error {
	if p.Cause != nil {
		return []error{p.Kind, p.Cause}
	}
	return []error{p.Kind}
}
