// Package sandboxtest is the suite that every sandbox.Runtime passes: Run for
// what the interface promises, and one function per attack that a sandbox must
// withstand. A provider's test is a few lines.
//
// The guest in these tests is testdata/probeguest, which runs commands as the
// person and carries the attacks.
package sandboxtest
