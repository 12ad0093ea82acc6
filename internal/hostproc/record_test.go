package hostproc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

type noted struct {
	Process
	More string `json:"more"`
}

// A record is read as it was written, the newest; a damaged one is no record.
func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	if _, err := ReadRecord[noted](path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	self, err := Note(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"first, and longer", "second"} {
		if err := WriteRecord(path, noted{self, more}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadRecord[noted](path)
	if err != nil || got != (noted{self, "second"}) || !got.Alive() {
		t.Errorf("%+v %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + "?*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := os.WriteFile(path, []byte(`{"pid":7,"start":"x`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadRecord[noted](path); err == nil || got != (noted{}) {
		t.Errorf("damaged: %+v %v", got, err)
	}
}
