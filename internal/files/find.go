package files

import (
	"bytes"
	"context"
	"io"
	"regexp"
)

// finder says where the first match in a line is; nil: nowhere, or its context has
// ended.
type finder func(ctx context.Context, line []byte) []int

// shortLine is up to how many bytes a line is looked at in one go. An expression
// of many parts may take milliseconds for each byte.
const shortLine = 256

// patiently is re's first match, for which a long line is read piece by piece, so
// that the search can end in between.
func patiently(re *regexp.Regexp) finder {
	return func(ctx context.Context, line []byte) []int {
		if len(line) <= shortLine {
			return re.FindIndex(line)
		}
		at := re.FindReaderIndex(&ending{ctx: ctx, r: bytes.NewReader(line)})
		if ctx.Err() != nil {
			return nil // what was cut off may have seemed to match its end
		}
		return at
	}
}

// ending is a line that ends with its context.
type ending struct {
	ctx context.Context
	r   *bytes.Reader
	n   int
}

// ReadRune implements io.RuneReader.
func (e *ending) ReadRune() (rune, int, error) {
	if e.n++; e.n&31 == 0 && e.ctx.Err() != nil {
		return 0, 0, io.EOF
	}
	return e.r.ReadRune()
}
