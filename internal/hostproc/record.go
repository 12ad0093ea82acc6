package hostproc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// WriteRecord writes what is noted of a process, as JSON, for the next server to
// read. What was there before is replaced whole or not at all; on a full disk,
// which has no room for both, it is written over.
func WriteRecord(path string, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	err = os.WriteFile(path+".new", b, 0o600)
	if err == nil {
		return os.Rename(path+".new", path)
	}
	if e := os.Remove(path + ".new"); e != nil && !errors.Is(e, fs.ErrNotExist) {
		return errors.Join(err, e)
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		if e := overwrite(path, b); !errors.Is(e, fs.ErrNotExist) {
			return e
		}
	}
	return err
}

// overwrite puts something else into a file, in the room that it has.
func overwrite(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Truncate(int64(len(b)))
}

// ReadRecord reads what WriteRecord wrote. The error wraps fs.ErrNotExist when
// nothing was; of a damaged record the zero value is returned.
func ReadRecord[T any](path string) (T, error) {
	var none, record T
	b, err := os.ReadFile(path)
	if err != nil {
		return none, err
	}
	if err := json.Unmarshal(b, &record); err != nil {
		return none, fmt.Errorf("record: %w", err)
	}
	return record, nil
}
