package volume

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"staithe/internal/station"
)

// limited is a home with a limit, of which nothing is used yet but its folder.
func limited(t *testing.T, bytes int64) (*Volumes, station.Workstation) {
	t.Helper()
	v, ws := open(t, t.TempDir()), station.Workstation{ID: station.NewID(), UIDRange: 1}
	if err := os.MkdirAll(v.Path(ws), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := v.SetQuota(t.Context(), ws, bytes); err != nil {
		t.Fatal(err)
	}
	return v, ws
}

func refused(err error, code string) bool {
	p, ok := errors.AsType[*station.Problem](err)
	return ok && p.Code == code && errors.Is(err, station.ErrNoSpace)
}

// However many ask at once, together they get no more than the limit.
func TestReservationsKeepTheLimit(t *testing.T) {
	const limit, each = 16 << 20, 1 << 20
	v, ws := limited(t, limit)
	var all sync.WaitGroup
	var mu sync.Mutex
	var got []*Reservation
	for range 64 {
		all.Go(func() {
			r, err := v.Reserve(t.Context(), ws, 0, each, 1)
			if err != nil && !refused(err, "quota_full") {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				got = append(got, r)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if n := len(got); n != limit/each-1 { // the home's folder takes a block
		t.Errorf("%d got room", n)
	}
	for _, r := range got {
		r.Close()
		r.Close()
	}
	if r, err := v.Reserve(t.Context(), ws, 0, limit-each, 1); err != nil {
		t.Errorf("what was given back is not there: %v", err)
	} else if r.Close(); v.reserved != 0 {
		t.Errorf("%d bytes stay reserved", v.reserved)
	}
}

// What was written counts, before and after it is measured, and no more once it
// is deleted.
func TestWhatWasWrittenCounts(t *testing.T) {
	const limit = 8 << 20
	v, ws := limited(t, limit)
	r, err := v.Reserve(t.Context(), ws, 0, 6<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(v.Path(ws), "f")
	if err := os.WriteFile(file, make([]byte, 6<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Wrote(6<<20, 1)
	r.Close()
	for _, when := range []string{"written", "measured"} {
		if _, err := v.Reserve(t.Context(), ws, 0, 4<<20, 1); !refused(err, "quota_full") {
			t.Errorf("%s: %v", when, err)
		}
		if u, err := v.Measure(t.Context(), ws); err != nil || u.Bytes < 6<<20 {
			t.Fatalf("%+v %v", u, err)
		}
	}
	if r, err := v.Reserve(t.Context(), ws, 0, 1<<20, 1); err != nil {
		t.Errorf("measured, it counts twice: %v", err)
	} else {
		r.Close()
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	until(t, "there is room again", func() bool {
		r, err := v.Reserve(t.Context(), ws, 0, 7<<20, 1)
		if err == nil {
			r.Close()
		}
		return err == nil
	})
}

func TestReservationsKeepTheDisk(t *testing.T) {
	v, ws := limited(t, 0)
	sp, err := v.Space()
	if err != nil {
		t.Fatal(err)
	}
	floor := sp.Free - 1<<30 // far more than others write meanwhile
	r, err := v.Reserve(t.Context(), ws, floor, 600<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := v.Reserve(t.Context(), ws, floor, 600<<20, 1); !refused(err, "disk_low") {
		t.Error(err)
	}
	if r, err := v.Reserve(t.Context(), ws, floor, 0, 1); err != nil {
		t.Errorf("what takes no room: %v", err)
	} else {
		r.Close()
	}
}

// So many files as the limit allows, also where they are empty.
func TestReservationsCountFiles(t *testing.T) {
	v, ws := limited(t, 1<<20)
	if _, err := v.Reserve(t.Context(), ws, 0, 0, minFiles); !refused(err, "quota_full") {
		t.Error(err)
	}
}
