package vt

// Kinds of grapheme breaks (UAX #29), as widthBlocks has them. Those between 5
// and 9 are Hangul.
const (
	breakOther = iota
	breakPrepend
	breakExtend
	breakRegional
	breakSpacingMark
	breakL
	breakV
	breakT
	breakLV
	breakLVT
	breakZWJ
	breakPictographic
)

// joint is what is remembered of the character before the next one: whether there
// is one, its kind of break and the columns that it takes. The next one may join
// it. 0: there is none; any control sequence makes it so.
type joint uint8

const (
	jointSet   joint = 0x80
	plainJoint       = jointSet | 1<<4 // of kind breakOther
)

func makeJoint(kind, width int) joint { return jointSet | joint(width)<<4 | joint(kind) }

func (j joint) kind() int  { return int(j & 15) }
func (j joint) width() int { return int(j >> 4 & 3) }

// measure is how a character behaves after another: the columns of the cluster
// that it ends, and whether it joins the one before.
func measure(code rune, before joint) (after joint, width int, joins bool) {
	info := widthBlocks[int(widthIndex[code>>7])<<7|int(code&127)]
	kind := int(info & 15)
	width = int(info >> 4)
	if before != 0 && joinable(before.kind(), kind) {
		joins = true
		switch {
		case before.width() > width:
			width = before.width()
		case kind == breakRegional: // two of them are a flag; a third begins the next
			width, kind = 2, breakOther
		}
		if kind == breakRegional {
			kind = breakOther
		}
	}
	return makeJoint(kind, width), width, joins
}

// joinable says whether there is no break between two characters, by the rules
// GB6 to GB13 of UAX #29.
func joinable(before, after int) bool {
	switch {
	case before == breakL && (after == breakL || after == breakV || after == breakLV || after == breakLVT),
		(before == breakLV || before == breakV) && (after == breakV || after == breakT),
		(before == breakLVT || before == breakT) && after == breakT,
		after == breakExtend, after == breakZWJ, after == breakSpacingMark,
		before == breakPrepend,
		before == breakZWJ && after == breakPictographic,
		before == breakRegional && after == breakRegional:
		return true
	}
	return false
}
