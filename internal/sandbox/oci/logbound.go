package oci

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"staithe/internal/station"
)

// A guest writes its log itself, so that it can go on without a gateway. Each
// look at a sandbox (the gateway takes one every 30 s) cuts a log that has grown
// too large; it is opened for appending, so that the guest writes on at its new end.
const (
	maxLog  = 4 << 20
	keepLog = 256 << 10 // the end of it that stays
)

// boundLog cuts a sandbox's log when it is too large. Lines that come in the
// moment of the cut are lost.
func (r *Runtime) boundLog(id station.ID) {
	path := filepath.Join(r.dir(id), logName)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() <= maxLog {
		return
	}
	if err := cutLog(path, info.Size()); err != nil {
		r.log.Warn("cannot cut a guest's log", "session", id, "err", err)
	}
}

func cutLog(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	end := make([]byte, keepLog)
	if _, err := f.ReadAt(end, size-keepLog); err != nil && err != io.EOF {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "(%d bytes were cut from here)\n%s", size-keepLog, end)
	return err
}
