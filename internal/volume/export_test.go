package volume

import "staithe/internal/station"

// lastKnown is a home's last measurement.
func (v *Volumes) lastKnown(ws station.Workstation) Usage {
	h := v.home(ws)
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stated(h)
}
