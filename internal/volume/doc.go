// Package volume keeps the workstations' homes: one folder each under
// DATA/homes, which outlives every sandbox. A removed one waits in DATA/trash
// for 30 days.
//
// What is in a home is its user's and may be hostile. Nothing here follows a
// link in one: all paths go through os.Root, and a home is never opened, only
// made, renamed and removed.
package volume
