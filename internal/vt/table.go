package vt

// The states of the parser.
const (
	ground = iota
	escape
	escapeIntermediate
	csiEntry
	csiParam
	csiIntermediate
	csiIgnore
	ignoredString // SOS, PM, APC
	oscString
	dcsEntry
	dcsParam
	dcsIgnore
	dcsIntermediate
	dcsPassthrough
	apcEntry
	graphicsString // an APC of kitty's graphics protocol; as an ignored one
	states
)

// What is done with a code point on the way to the next state.
const (
	doIgnore = iota
	doPrint
	doExecute
	doOSCStart
	doOSCPut
	doOSCEnd
	doCSI
	doParam
	doCollect
	doEscape
	doClear
	doHook
	doPut
	doUnhook
)

// above stands for all code points from 0xA0 on.
const above = 0xA0

// table has for each state and code point what to do (bits 4–7) and the next state.
var table = makeTable()

func makeTable() (t [states][above + 1]byte) {
	add := func(state, from, to, do, next int) {
		for c := from; c <= to; c++ {
			t[state][c] = byte(do<<4 | next)
		}
	}
	// C0 controls but CAN, SUB and ESC.
	controls := func(state, do int) {
		add(state, 0x00, 0x17, do, state)
		add(state, 0x19, 0x19, do, state)
		add(state, 0x1C, 0x1F, do, state)
	}
	for s := range states { // from anywhere; what is not said ends in ground
		add(s, 0x18, 0x18, doExecute, ground)
		add(s, 0x1A, 0x1A, doExecute, ground)
		add(s, 0x1B, 0x1B, doClear, escape)
		add(s, 0x80, 0x9A, doExecute, ground)
		add(s, 0x90, 0x90, doClear, dcsEntry)
		add(s, 0x98, 0x98, doIgnore, ignoredString)
		add(s, 0x9B, 0x9B, doClear, csiEntry)
		add(s, 0x9D, 0x9D, doOSCStart, oscString)
		add(s, 0x9E, 0x9E, doIgnore, ignoredString)
		add(s, 0x9F, 0x9F, doIgnore, apcEntry)
	}
	controls(ground, doExecute)
	add(ground, 0x20, 0x7E, doPrint, ground)
	add(ground, above, above, doPrint, ground)
	tableEscape(add, controls)
	tableCSI(add, controls)
	tableStrings(add, controls)
	return t
}

type (
	adder    func(state, from, to, do, next int)
	controls func(state, do int)
)

func tableEscape(add adder, controls controls) {
	for _, s := range []int{escape, escapeIntermediate} {
		controls(s, doExecute)
		add(s, 0x7F, 0x7F, doIgnore, s)
		add(s, 0x20, 0x2F, doCollect, escapeIntermediate)
		add(s, 0x30, 0x7E, doEscape, ground)
	}
	add(escape, 'P', 'P', doClear, dcsEntry)
	add(escape, 'X', 'X', doIgnore, ignoredString)
	add(escape, '[', '[', doClear, csiEntry)
	add(escape, ']', ']', doOSCStart, oscString)
	add(escape, '^', '^', doIgnore, ignoredString)
	add(escape, '_', '_', doIgnore, apcEntry)
}

func tableCSI(add adder, controls controls) {
	for _, s := range []int{csiEntry, csiParam, csiIntermediate, csiIgnore} {
		controls(s, doExecute)
		add(s, 0x7F, 0x7F, doIgnore, s)
		add(s, 0x20, 0x2F, doCollect, csiIntermediate)
		add(s, 0x40, 0x7E, doCSI, ground)
	}
	for _, s := range []int{csiEntry, csiParam} {
		add(s, '0', ';', doParam, csiParam)
	}
	add(csiEntry, '<', '?', doCollect, csiParam)
	add(csiParam, '<', '?', doIgnore, csiIgnore)
	add(csiIntermediate, '0', '?', doIgnore, csiIgnore)
	add(csiIgnore, 0x20, 0x3F, doIgnore, csiIgnore)
	add(csiIgnore, 0x40, 0x7E, doIgnore, ground)
	add(csiIgnore, above, above, doIgnore, csiIgnore)
}

func tableStrings(add adder, controls controls) {
	for _, s := range []int{ignoredString, apcEntry, graphicsString} {
		controls(s, doIgnore)
	}
	add(ignoredString, 0x20, 0x7F, doIgnore, ignoredString)
	add(apcEntry, 0x20, 0x7F, doIgnore, ignoredString)
	add(apcEntry, 'G', 'G', doIgnore, graphicsString)
	add(graphicsString, 0x20, 0x7F, doIgnore, graphicsString)

	controls(oscString, doIgnore)
	add(oscString, 0x20, 0x7F, doOSCPut, oscString)
	add(oscString, above, above, doOSCPut, oscString)
	for _, c := range []int{0x07, 0x18, 0x1A, 0x1B, 0x9C} {
		add(oscString, c, c, doOSCEnd, ground)
	}

	for _, s := range []int{dcsEntry, dcsParam, dcsIntermediate, dcsIgnore} {
		controls(s, doIgnore)
		add(s, 0x7F, 0x7F, doIgnore, s)
		add(s, 0x20, 0x2F, doCollect, dcsIntermediate)
		add(s, 0x40, 0x7E, doHook, dcsPassthrough)
	}
	for _, s := range []int{dcsEntry, dcsParam} {
		add(s, '0', ';', doParam, dcsParam)
	}
	add(dcsEntry, '<', '?', doCollect, dcsParam)
	add(dcsParam, '<', '?', doIgnore, dcsIgnore)
	add(dcsIntermediate, '0', '?', doIgnore, dcsIgnore)
	add(dcsIgnore, 0x20, 0x7F, doIgnore, dcsIgnore)
	add(dcsIgnore, above, above, doIgnore, dcsIgnore)

	controls(dcsPassthrough, doPut)
	add(dcsPassthrough, 0x20, 0x7E, doPut, dcsPassthrough)
	add(dcsPassthrough, 0x7F, 0x7F, doIgnore, dcsPassthrough)
	add(dcsPassthrough, above, above, doPut, dcsPassthrough)
	for _, c := range []int{0x18, 0x1A, 0x1B, 0x9C} {
		add(dcsPassthrough, c, c, doUnhook, ground)
	}
}
