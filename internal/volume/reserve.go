package volume

import (
	"context"
	"time"

	"staithe/internal/station"
)

const (
	// recent is how old a measurement must be for a refusal to have the home
	// measured once more: something may have been deleted since.
	recent = 200 * time.Millisecond
	// oneWrite is for how long bytes written count as one piece.
	oneWrite = time.Second
)

// ledger is what is being written into a home by those who ask before. The
// Volumes' mutex guards it.
type ledger struct {
	bytes, files int64 // asked for and not written yet
	done         []written
}

// written is what was written since the last measurement.
type written struct {
	since, until time.Time
	bytes, files int64
}

// add notes what was written until now.
func (l *ledger) add(now time.Time, bytes, files int64) {
	if n := len(l.done); n > 0 && now.Sub(l.done[n-1].since) < oneWrite {
		last := &l.done[n-1]
		last.until, last.bytes, last.files = now, last.bytes+bytes, last.files+files
		return
	}
	l.done = append(l.done, written{now, now, bytes, files})
}

// beyond is what a measurement that began at a time has not seen.
func (l *ledger) beyond(at time.Time) (bytes, files int64) {
	for len(l.done) > 0 && l.done[0].until.Before(at) {
		l.done = l.done[1:]
	}
	bytes, files = l.bytes, l.files
	for _, w := range l.done {
		bytes, files = bytes+w.bytes, files+w.files
	}
	return bytes, files
}

// Reservation is room in a home, and on the disk, that one writer has to itself.
// Close it. Not safe for concurrent use.
type Reservation struct {
	v            *Volumes
	ws           station.Workstation
	ledger       *ledger // the home's, also when that is gone meanwhile
	floor        int64
	bytes, files int64 // not written yet
}

// Reserve sets room for bytes in files aside before they are written, also where
// nothing but this keeps the home's limit; what is written without asking (in
// sessions) is the Guard's to keep. floor is how many bytes of the disk must stay
// free. Parallel writers that ask do not exceed the limit together. The error
// wraps station.ErrNoSpace, with code quota_full or disk_low, when there is no
// room, and station.ErrNotFound when there is no home.
func (v *Volumes) Reserve(ctx context.Context, ws station.Workstation, floor, bytes, files int64) (*Reservation, error) {
	r := &Reservation{v: v, ws: ws, floor: floor, ledger: &v.home(ws).ledger}
	if err := r.Grow(ctx, bytes, files); err != nil {
		return nil, err
	}
	return r, nil
}

// Grow reserves more. When there is no room, what was reserved before stays so.
// The error is as of Volumes.Reserve.
func (r *Reservation) Grow(ctx context.Context, bytes, files int64) error {
	for again := false; ; again = true {
		u, err := r.v.usageForWriter(ctx, r.ws, again)
		if err != nil {
			return err
		}
		err = r.take(u, bytes, files)
		if err == nil || again || time.Since(u.At) < recent+10*u.Cost {
			return err
		}
	}
}

// usageForWriter is Usage, but a home without a limit is not measured.
func (v *Volumes) usageForWriter(ctx context.Context, ws station.Workstation, now bool) (Usage, error) {
	h := v.home(ws)
	v.mu.Lock()
	unlimited := h.limit == 0
	v.mu.Unlock()
	switch {
	case unlimited:
		return Usage{At: time.Now()}, nil
	case now:
		return v.Measure(ctx, ws)
	}
	return v.Usage(ctx, ws)
}

// take notes a reservation where there is room for it.
func (r *Reservation) take(u Usage, bytes, files int64) error {
	room, err := r.v.Space()
	if err != nil {
		return err
	}
	l := r.ledger
	r.v.mu.Lock()
	defer r.v.mu.Unlock()
	more, moreFiles := l.beyond(u.At)
	if u.Limit > 0 && u.Bytes+more+bytes > u.Limit || u.FileLimit > 0 && u.Files+moreFiles+files > u.FileLimit {
		return station.Errorf(station.ErrNoSpace, "quota_full",
			"The home has no room left for this; delete something or empty the trash, and try again.")
	}
	if bytes > 0 && room.Free-r.floor-r.v.reserved < bytes {
		return station.Errorf(station.ErrNoSpace, "disk_low",
			"The server's disk has no room left for this; delete files you do not need, or ask the administrator for room, and try again.")
	}
	l.bytes, l.files, r.v.reserved = l.bytes+bytes, l.files+files, r.v.reserved+bytes
	r.bytes, r.files = r.bytes+bytes, r.files+files
	return nil
}

// Left is how many bytes are reserved and not written yet.
func (r *Reservation) Left() int64 { return r.bytes }

// Wrote says that so much of what was reserved is on the disk now. It counts
// until the home is measured next.
func (r *Reservation) Wrote(bytes, files int64) {
	r.settle(min(bytes, r.bytes), min(files, r.files), true)
}

// Close gives back what was reserved and not written. It may be called again.
func (r *Reservation) Close() { r.settle(r.bytes, r.files, false) }

func (r *Reservation) settle(bytes, files int64, kept bool) {
	if bytes == 0 && files == 0 {
		return
	}
	l := r.ledger
	r.v.mu.Lock()
	defer r.v.mu.Unlock()
	r.bytes, r.files = r.bytes-bytes, r.files-files
	l.bytes, l.files, r.v.reserved = l.bytes-bytes, l.files-files, r.v.reserved-bytes
	if kept {
		l.add(time.Now(), bytes, files)
	}
}
