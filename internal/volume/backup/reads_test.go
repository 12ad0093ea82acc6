package backup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// However many look around, few do at the same time, nobody keeps all places, and
// who waits too long hears it.
func TestLookingAroundIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{reads: newPool(readsAtOnce)}
		homes := make([]*unit, 5)
		for i := range homes {
			homes[i] = &unit{reads: newPool(readsOfOne)}
		}
		in := make(chan func(), 100)
		enter := func(ctx context.Context, u *unit, errs chan<- error) {
			leave, err := e.enter(ctx, u)
			if err == nil {
				in <- leave
			}
			errs <- err
		}
		errs := make(chan error, 100)
		for range 10 {
			go enter(t.Context(), homes[0], errs)
		}
		synctest.Wait()
		if len(in) != readsOfOne {
			t.Errorf("%d of one home look around", len(in))
		}
		gone, cancel := context.WithCancel(t.Context())
		waits := make(chan error, 1)
		go enter(gone, homes[0], waits)
		cancel()
		if err := <-waits; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for _, u := range homes[1:] {
			for range readsOfOne {
				go enter(t.Context(), u, errs)
			}
		}
		synctest.Wait()
		if len(in) != readsAtOnce {
			t.Errorf("%d look around", len(in))
		}
		time.Sleep(readsWait + time.Second)
		synctest.Wait()
		late := 0
		for len(errs) > 0 {
			if err := <-errs; restic.CodeOf(err) == restic.CodeBusy && errors.Is(err, station.ErrUnavailable) {
				late++
			}
		}
		if late != 10-readsOfOne+4*readsOfOne-(readsAtOnce-readsOfOne) {
			t.Errorf("%d hear that they are too many", late)
		}
		for len(in) > 0 {
			(<-in)()
		}
		if len(e.reads.places) != 0 || len(homes[0].reads.places) != 0 || len(homes[4].reads.places) != 0 {
			t.Error("places are lost")
		}
	})
}

// A folder of very many names is refused in words, not told from memory.
func TestFolderOfTooManyNames(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.Watch = nil })
	dir := filepath.Join(b.home, "many")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range entriesMax + 1 {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sn, err := b.e.Wait(t.Context(), b.ws, "now")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.e.Folder(t.Context(), b.ws, sn.ID, "many"); restic.CodeOf(err) != restic.CodeTooLarge {
		t.Errorf("%v", err)
	}
	if list, err := b.e.Folder(t.Context(), b.ws, sn.ID, ""); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}
