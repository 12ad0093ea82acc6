package oci

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"staithe/internal/idmap"
	"staithe/internal/station"
)

// idMapper says which host ids stand behind a sandbox's.
type idMapper interface {
	maps(uidRange int) (uids, gids []specs.LinuxIDMapping)
}

func newIDMapper(root bool) (idMapper, error) {
	if root {
		return rootIDs{}, nil
	}
	return newRootlessIDs()
}

// rootIDs gives each user a range of host ids that nothing else has.
type rootIDs struct{}

func (rootIDs) maps(uidRange int) (uids, gids []specs.LinuxIDMapping) {
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(station.HostUID(uidRange, 0)), Size: station.UIDRangeSize}}
	return m, m
}

// rootlessIDs are those of the account that runs the gateway (internal/idmap).
type rootlessIDs struct{ uids, gids []specs.LinuxIDMapping }

func (r rootlessIDs) maps(int) (uids, gids []specs.LinuxIDMapping) { return r.uids, r.gids }

func newRootlessIDs() (rootlessIDs, error) {
	uids, gids, err := idmap.Rootless()
	if err != nil {
		return rootlessIDs{}, err
	}
	return rootlessIDs{mappings(uids), mappings(gids)}, nil
}

func mappings(in []idmap.Map) []specs.LinuxIDMapping {
	var out []specs.LinuxIDMapping
	for _, m := range in {
		out = append(out, specs.LinuxIDMapping{ContainerID: m.Inside, HostID: m.Outside, Size: m.Size})
	}
	return out
}
