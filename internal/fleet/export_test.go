package fleet

import (
	"context"

	"staithe/internal/station"
	"staithe/internal/volume"
)

// DiskHost is the fleet as the disk's guard sees it.
func (f *Fleet) DiskHost() volume.Host {
	return &diskHost{f: f, limits: map[station.ID]int64{}}
}

// Remembered lists the sessions of which more is kept than their record.
func (f *Fleet) Remembered() []station.ID { return f.remembered() }

// Renew is one beat of the heart.
func (f *Fleet) Renew(ctx context.Context) error { return f.renew(ctx) }
