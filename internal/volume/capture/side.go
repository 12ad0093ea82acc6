package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sides are the ends of what SQLite keeps beside a database.
var sides = []string{"-wal", "-journal", "-shm"}

// sidesAreFiles says whether what is beside a database under such names is files.
func sidesAreFiles(at string) bool {
	for _, end := range sides {
		if st, err := stat(at + end); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			return false
		}
	}
	return true
}

// sideOf says whether a file beside a database is what its name says: people give
// files names that end so, too.
func sideOf(at, end string, st unix.Stat_t) bool {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false
	}
	b := begin(at+end, 8)
	if st.Size == 0 || len(bytes.Trim(b, "\x00")) == 0 { // made, or done with
		return true
	}
	if len(b) < 8 {
		return false
	}
	switch end {
	case "-wal":
		return binary.BigEndian.Uint32(b)&^1 == 0x377f0682
	case "-journal":
		return binary.BigEndian.Uint64(b) == 0xd9d505f920a163d7
	default: // in the machine's order
		return binary.NativeEndian.Uint32(b) == 3007000
	}
}

// header says whether a file is a database, and one with a log (-wal).
func header(at string) (wal, ok bool) {
	b := begin(at, 20)
	if len(b) < 20 || string(b[:len(magic)]) != magic {
		return false, false
	}
	return b[18] == 2, true
}

// begin is the beginning of a file: less than n bytes where there is no more, or
// it cannot be read.
func begin(at string, n int) []byte {
	f, err := os.OpenFile(at, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, n)
	n, _ = io.ReadFull(f, b)
	return b[:n]
}
