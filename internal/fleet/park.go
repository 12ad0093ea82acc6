package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"staithe/internal/guestapi"
	"staithe/internal/station"
)

// park asks a session's programs to end and, with keep, stores what its tabs
// showed for the next wake.
func (f *Fleet) park(ctx context.Context, s station.Session, keep bool) error {
	c := f.client(s.ID)
	if !keep {
		return c.Shutdown(ctx, server(s, station.RoleOwner))
	}
	p, err := c.Park(ctx, server(s, station.RoleOwner))
	if err != nil {
		return err
	}
	return f.keep(s.ID, p)
}

// snapshot stores what a running session's tabs show.
func (f *Fleet) snapshot(ctx context.Context, s station.Session) error {
	p, err := f.client(s.ID).Snapshot(ctx, server(s, station.RoleOwner))
	if err != nil {
		return err
	}
	if err := f.keep(s.ID, p); err != nil {
		// A full disk is no reason not to sleep: all is in memory.
		f.log.Warn("cannot keep what a session's tabs show", "session", s.ID, "err", err)
	}
	return nil
}

func (f *Fleet) parkedPath(id station.ID) string { return filepath.Join(f.parked, string(id)) }

// keep writes a session's parked tabs so that they are whole or as before. It
// is what people typed and saw: for this account's eyes only.
func (f *Fleet) keep(id station.ID, p guestapi.Parked) (err error) {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(f.parked, "."+string(id)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the tabs: %w", err)
	}
	defer os.Remove(tmp.Name()) // gone after the rename
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), f.parkedPath(id))
	}
	if err != nil {
		return fmt.Errorf("keep the tabs: %w", err)
	}
	return nil
}

func (f *Fleet) forgetParked(id station.ID) error {
	if err := os.Remove(f.parkedPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the parked tabs: %w", err)
	}
	return nil
}

// sweepParked removes what a crash left of writing, and the tabs of sessions
// that are no more. Nothing may be parked meanwhile.
func (f *Fleet) sweepParked(records []station.Session) error {
	entries, err := os.ReadDir(f.parked)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, s := range records {
		known[string(s.ID)] = true
	}
	var errs []error
	for _, e := range entries {
		if id := e.Name(); !known[id] {
			errs = append(errs, os.Remove(filepath.Join(f.parked, id)))
		}
	}
	return errors.Join(errs...)
}

// unpark gives a session's fresh guest the tabs of the one before. What cannot
// be restored keeps nobody from their session: the notice says so.
func (f *Fleet) unpark(ctx context.Context, slept station.Session) station.Notice {
	err := f.restore(ctx, slept)
	if err == nil {
		return station.Notice{}
	}
	f.log.Warn("a session's tabs cannot be restored", "session", slept.ID, "err", err)
	return station.Notice{Code: "tabs_lost", At: f.stamp(),
		Text: "The session's tabs could not be restored as they were before it was stopped; its files are all there."}
}

func (f *Fleet) restore(ctx context.Context, slept station.Session) error {
	b, err := os.ReadFile(f.parkedPath(slept.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var p guestapi.Parked
	if err = json.Unmarshal(b, &p); err == nil && len(p.Tabs) > 0 {
		err = f.client(slept.ID).Restore(ctx, server(slept, station.RoleOwner), guestapi.Restore{Line: f.farewell(slept), Tabs: p.Tabs})
	}
	return errors.Join(err, f.forgetParked(slept.ID))
}

// farewell is the line between what a tab showed and its new shell.
func (f *Fleet) farewell(slept station.Session) string {
	line := "[staithe] This session was stopped"
	if !slept.SleptAt.IsZero() {
		line = "[staithe] This session went to sleep on " + slept.SleptAt.UTC().Format("2 Jan 15:04 UTC")
		if slept.Reason != "" {
			line += " (" + strings.TrimSuffix(slept.Reason, ".") + ")"
		}
		line += " and was stopped"
	}
	return line + "; the shell below is new."
}
