// Package volume keeps the workstations' homes: one folder each under
// DATA/homes, which outlives every sandbox. A removed one waits in DATA/trash
// for 30 days.
//
// A home may have a limit, which the kernel keeps where it can (SetQuota); a
// Guard keeps it elsewhere by measuring, and keeps the disk as a whole from
// being filled.
//
// What is in a home is its user's and may be hostile. Nothing here follows a
// link in one: all paths go through os.Root, or one name at a time through open
// folders (walk.go), and no file in a home is read or written.
package volume
