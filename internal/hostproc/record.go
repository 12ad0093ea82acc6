package hostproc

import (
	"encoding/json"
	"fmt"
	"os"
)

// WriteRecord writes what is noted of a process, as JSON, for the next server to
// read. What was there before is replaced whole or not at all.
func WriteRecord(path string, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
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
