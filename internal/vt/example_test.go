package vt_test

import (
	"fmt"

	"staithe/internal/vt"
)

// What a program wrote is drawn; what it asked is answered, and left out of what goes
// on to others.
func ExampleTerminal_Filter() {
	t := vt.New(40, 4, vt.Options{
		Answer: func(b []byte) { fmt.Printf("answered %q\n", b) },
		Title:  func(s string) { fmt.Printf("titled %q\n", s) },
	})
	rest := t.Filter(nil, []byte("\x1b]2;a build\aok  \x1b[32m12 passed\x1b[m\x1b[6n"))
	fmt.Printf("%q\n", rest)
	fmt.Printf("%q\n", t.Lines(0))
	// Output:
	// titled "a build"
	// answered "\x1b[1;14R"
	// "\x1b]2;a build\aok  \x1b[32m12 passed\x1b[m"
	// ["ok  12 passed" "" "" ""]
}

// A page that comes later is given a snapshot, then what is written after it.
func ExampleTerminal_Snapshot() {
	t := vt.New(20, 2, vt.Options{})
	fmt.Fprint(t, "one\r\ntwo\r\nthree") // the first line is above the screen now
	page := vt.New(20, 2, vt.Options{})
	page.Write(t.Snapshot(1000))
	fmt.Fprint(t, "!")
	fmt.Fprint(page, "!")
	fmt.Printf("%q %q\n", t.Lines(1000), page.Lines(1000))
	// Output:
	// ["one" "two" "three!"] ["one" "two" "three!"]
}

func ExampleTerminal_Painted() {
	t := vt.New(20, 1, vt.Options{})
	fmt.Fprint(t, "\x1b[1mbold\x1b[22m plain")
	fmt.Printf("%q\n", t.Painted(0))
	// Output:
	// ["\x1b[0;1mbold\x1b[0m plain"]
}
