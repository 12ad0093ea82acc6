package vt

import "math"

const maxParams = 32

// params are the numbers of a control sequence, each with the sub-parameters that
// colons join to it. A number that is left out is 0, a sub-parameter -1. What is
// more than maxParams is dropped, as in xterm.js.
type params struct {
	value   [maxParams]int32
	n       int
	sub     [maxParams]int32
	nsub    int
	from    [maxParams]uint8 // where in sub those of each number begin
	to      [maxParams]uint8
	inSub   bool // the next digit is a sub-parameter's
	drop    bool // there was no room for the number
	dropSub bool
}

func (p *params) reset() {
	p.n, p.nsub, p.inSub, p.drop, p.dropSub = 0, 0, false, false, false
	p.next()
}

// next begins another number.
func (p *params) next() {
	p.inSub = false
	if p.n == maxParams {
		p.drop = true
		return
	}
	p.value[p.n], p.from[p.n], p.to[p.n] = 0, uint8(p.nsub), uint8(p.nsub)
	p.n++
}

func (p *params) nextSub() {
	p.inSub = true
	if p.drop || p.nsub == maxParams {
		p.dropSub = true
		return
	}
	p.sub[p.nsub] = -1
	p.nsub++
	p.to[p.n-1]++
}

func (p *params) digit(d int32) {
	if p.drop || p.inSub && p.dropSub {
		return
	}
	to := &p.value[p.n-1]
	if p.inSub {
		to = &p.sub[p.nsub-1]
	}
	if *to == -1 {
		*to = d
		return
	}
	*to = int32(min(int64(*to)*10+int64(d), math.MaxInt32))
}

// get is a number as it is, 0 where there is none.
func (p *params) get(i int) int {
	if i >= p.n {
		return 0
	}
	return int(p.value[i])
}

// count is the first number, at least 1.
func (p *params) count() int { return max(p.get(0), 1) }

// subs are the sub-parameters of a number.
func (p *params) subs(i int) []int32 {
	if p.nsub == 0 { // from and to may not be set
		return nil
	}
	return p.sub[p.from[i]:p.to[i]]
}
