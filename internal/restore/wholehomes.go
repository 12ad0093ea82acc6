package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/capture"
	"staithe/internal/volume/restic"
)

// errNoHome says that there never was a snapshot of a home: its user had none yet.
var errNoHome = errors.New("there is no snapshot of this home")

// homes brings every home that is not there yet, each for itself: what is wrong
// with one keeps no other from coming. An error says that some are not there.
func (s *Whole) homes(ctx context.Context, m Manifest, k *mark) error {
	for _, name := range s.Without {
		if !slices.ContainsFunc(m.Workstations, func(w Of) bool { return w.User == name }) {
			return station.Errorf(station.ErrInvalid, "no_user", "The server had no user %q; correct --without.", name)
		}
	}
	if err := os.MkdirAll(filepath.Join(s.Data, homesDir), 0o700); err != nil {
		return fmt.Errorf("make the homes' folder: %w", err)
	}
	var failed []string
	var why []error
	for n, w := range m.Workstations {
		if s.there(w) || slices.Contains(s.Without, w.User) {
			continue
		}
		s.Say("Home of %s (%d of %d)", w.User, n+1, len(m.Workstations))
		err := s.home(ctx, w, k)
		if err == nil || err == errNoHome {
			continue
		}
		if ctx.Err() != nil {
			return err
		}
		text := err.Error()
		if p, ok := errors.AsType[*station.Problem](err); ok {
			text = p.Sentence
		}
		s.Say("The home of %s could not be brought: %s", w.User, text)
		failed, why = append(failed, w.User), append(why, fmt.Errorf("the home of %s: %w", w.User, err))
	}
	if len(failed) == 0 {
		return nil
	}
	return station.Errorf(station.ErrUnavailable, "homes_failed",
		"These homes could not be brought: %s. All else is there. Put right what is said above and run this again: it goes on. Or do without them, with --without %s: then they begin empty.",
		strings.Join(failed, ", "), strings.Join(failed, " --without ")).Because(errors.Join(why...))
}

// there says whether a home was brought.
func (s *Whole) there(w Of) bool {
	_, err := os.Lstat(filepath.Join(s.Data, homesDir, string(w.ID)))
	return err == nil
}

// home brings one. errNoHome: there is none to bring.
func (s *Whole) home(ctx context.Context, w Of, k *mark) error {
	r, snap, err := s.lookUp(ctx, w)
	if err != nil {
		return err
	}
	// Before it is there: who is cut off then knows the time all the same.
	if k.Homes == nil {
		k.Homes = map[station.ID]time.Time{}
	}
	k.Homes[w.ID] = snap.At
	if err := s.keep(*k); err != nil {
		return err
	}
	// Beside the homes: the rename that makes it one is on the same file system.
	into := filepath.Join(s.Data, homesDir, ".new-"+string(w.ID))
	if err := fresh(into); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch(watching, into, func(bytes, files int64) { s.Tell(w.User, bytes, files) })
	}()
	_, err = r.Restore(ctx, restic.RestoreRequest{Snapshot: snap.Long, Into: into, Place: s.Data})
	stop()
	<-done
	if err != nil {
		return errors.Join(err, os.RemoveAll(into)) // the others may need its room
	}
	err = syncAll(into)
	if err == nil {
		err = os.Rename(filepath.Join(into, strings.TrimPrefix(restic.Top, "/")), filepath.Join(s.Data, homesDir, string(w.ID)))
	}
	if err == nil {
		err = syncFolder(filepath.Join(s.Data, homesDir))
	}
	if err != nil {
		return fmt.Errorf("take what was fetched: %w", err)
	}
	return os.RemoveAll(into)
}

// lookUp opens a home's repository and looks for its newest snapshot. errNoHome:
// there is no repository, or nothing in it. One that lost its head is none of that.
func (s *Whole) lookUp(ctx context.Context, w Of) (*restic.Repo, restic.Snapshot, error) {
	var none restic.Snapshot
	r, err := s.open(string(w.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, none, errNoHome
	}
	if err != nil {
		return nil, none, err
	}
	list, err := r.Snapshots(ctx)
	if restic.CodeOf(err) == restic.CodeNoRepository {
		holds, herr := s.holds(ctx, w)
		if herr != nil {
			return nil, none, herr
		}
		if holds {
			return nil, none, station.Errorf(station.ErrUnavailable, restic.CodeDamaged,
				"There are snapshots, but the repository's config is missing; bring that back from a copy of the store.").Because(err)
		}
		return nil, none, errNoHome
	}
	if err != nil {
		return nil, none, err
	}
	if len(list) == 0 {
		return nil, none, errNoHome
	}
	return r, slices.MaxFunc(list, func(a, b restic.Snapshot) int { return a.At.Compare(b.At) }), nil
}

// holds says whether there are snapshots of a home, whatever else is missing.
func (s *Whole) holds(ctx context.Context, w Of) (bool, error) {
	if s.From.Bucket.Name != "" {
		return s.From.Holds(ctx, workstationIn+"/"+string(w.ID)+"/snapshots/")
	}
	list, err := os.ReadDir(filepath.Join(s.From.Folder, string(w.ID), "snapshots"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(list) > 0, err
}

// tell says what is there, of when, and what is not.
func (s *Whole) tell(m Manifest, k mark) {
	const form = "2006-01-02 15:04:05"
	s.Say("The database is as it was at %s (staithe %s).", m.At.Local().Format(form), m.Version)
	for _, w := range m.Workstations {
		at, known := k.Homes[w.ID]
		switch {
		case !s.there(w) && slices.Contains(s.Without, w.User):
			s.Say("%s has no home: it was left out with --without.", w.User)
		case !s.there(w):
			s.Say("%s has no home: there is no snapshot of it.", w.User)
		case known && at.Before(m.At.Add(-olderBy)):
			s.Say("The home of %s is as it was at %s, %s before the database: what changed in between is not there.",
				w.User, at.Local().Format(form), m.At.Sub(at).Round(time.Minute))
		case known:
			s.Say("The home of %s is as it was at %s.", w.User, at.Local().Format(form))
		}
	}
	for _, i := range m.Images {
		s.Say("The image %s is not kept in backups; import it again, from %s.", i.Name, i.Source)
	}
	s.Say("Not in any backup: caches (~/.cache), unfinished uploads, and what people left out in ~/%s.", capture.Excludes)
	if s.From.Folder != "" {
		s.Say("Older snapshots are only in %s; to have them in this server, copy it to %s before you start it.",
			s.From.Folder, filepath.Join(s.Data, "backups"))
	}
}

// olderBy is how much older than the database a home is when it is told so: its
// snapshot may take as long.
const olderBy = 2 * time.Minute
