package files

import (
	"bytes"
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// dirents reads a folder's names with the types that the file system tells along.
// os.File's own ReadDir looks at each file that was opened through a root, which
// takes as long as all the rest of a list. each ends it with false.
func dirents(dir *os.File, each func(name string, kind byte) bool) error {
	const header = 19 // struct linux_dirent64 before the name: inode, offset, length, type
	buf := make([]byte, 64<<10)
	for {
		var n int
		err := retry(func() (err error) { n, err = unix.Getdents(int(dir.Fd()), buf); return err })
		if err != nil || n <= 0 {
			return err
		}
		for rest := buf[:n]; len(rest) > header; {
			size := int(binary.NativeEndian.Uint16(rest[16:]))
			if size <= header || size > len(rest) {
				return unix.EIO
			}
			name, _, _ := bytes.Cut(rest[header:size], []byte{0})
			kind := rest[18]
			if s := string(name); s != "." && s != ".." && s != "" && !each(s, kind) {
				return nil
			}
			rest = rest[size:]
		}
	}
}
