// Package web carries the built page inside the binary.
package web

import (
	"embed"
	"io/fs"
)

// The kept dotfile lets the package compile before the page is built.
//
//go:embed all:dist
var built embed.FS

// Dist returns the built page: index.html at its root, everything else under
// assets/ with a content hash in its name. Without a build it is empty but for
// .keep. It is safe for concurrent use.
func Dist() fs.FS {
	dist, err := fs.Sub(built, "dist")
	if err != nil {
		panic("web: " + err.Error()) // the embed pattern above names the folder
	}
	return dist
}
