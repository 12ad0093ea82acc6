// Package watch tells what changes in homes, whoever changes it: a shell in any
// sandbox, the files helper, or the server.
//
// # As root: fanotify
//
// One mark on the file system that the homes are on sees everything, in all mount
// namespaces and through idmapped mounts, and however many folders there are.
// Linux 5.17 tells a rename as one event; before that (5.9 at least) it is told
// as a delete and a create, and several folders that are moved at once as an
// overflow. The kernel names the folder by its file handle; what
// its path is, the tree (tree.go) knows or finds by open_by_handle_at with
// O_PATH. No name in a home is ever looked up through a link.
//
// It misses what is written to a file through a memory map, until the map and the
// descriptor are closed; and changes on another host of a network file system.
// A file that was open for writing and is closed counts as modified.
//
// # Else: inotify
//
// For an account that is not root, and where the file system cannot do the above
// (overlayfs), each folder of a watched home has an inotify watch. New folders are
// listed when they are seen, and all is looked over every now and then (poll.go):
// that finds what was missed, late. When the account's watches are used up
// (fs.inotify.max_user_watches), only the looking over is left; the log says so, and Stream.Late how late that is.
// It misses a file that was made and deleted between two looks in a new folder,
// and knows a rename only while both folders are watched.
//
// # In both
//
// A folder that is moved, deleted or created stands for all that is in it. Of what
// is deleted with its folder, only the folder may be told. What lies deeper than
// a path can say (4,000 bytes) is not told. A file that is renamed over another
// (as the files helper and many editors save) is told as a create or a move: it
// may have been there before.
package watch
