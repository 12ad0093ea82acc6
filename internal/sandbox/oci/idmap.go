package oci

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

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

// rootlessIDs makes the gateway's own uid the shells' uid, so that homes belong
// to the person who runs the gateway, and takes all others from /etc/subuid.
type rootlessIDs struct{ uids, gids []specs.LinuxIDMapping }

func (r rootlessIDs) maps(int) (uids, gids []specs.LinuxIDMapping) { return r.uids, r.gids }

func newRootlessIDs() (rootlessIDs, error) {
	name := userName()
	sub, err := subRange("/etc/subuid", name, os.Getuid())
	if err != nil {
		return rootlessIDs{}, err
	}
	subg, err := subRange("/etc/subgid", name, os.Getuid())
	if err != nil {
		return rootlessIDs{}, err
	}
	return rootlessIDs{rootlessMap(os.Getuid(), sub), rootlessMap(os.Getgid(), subg)}, nil
}

// idRange is one line of /etc/subuid.
type idRange struct{ first, size uint32 }

// minSubIDs is what a sandbox needs: 0–999 and a few above 1000.
const minSubIDs = station.SandboxUID + 1

// rootlessMap puts own at 1000 and the range around it.
func rootlessMap(own int, sub idRange) []specs.LinuxIDMapping {
	const mid = station.SandboxUID
	above := min(sub.size-mid, station.UIDRangeSize-mid-1)
	return []specs.LinuxIDMapping{
		{ContainerID: 0, HostID: sub.first, Size: mid},
		{ContainerID: mid, HostID: uint32(own), Size: 1},
		{ContainerID: mid + 1, HostID: sub.first + mid, Size: above},
	}
}

// subRange finds a user's largest range. The error wraps station.ErrUnavailable.
func subRange(file, name string, uid int) (idRange, error) {
	var best idRange
	f, err := os.Open(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return best, fmt.Errorf("read %s: %w", file, err)
	}
	if err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			p := strings.Split(strings.TrimSpace(s.Text()), ":")
			if len(p) != 3 || p[0] != name && p[0] != strconv.Itoa(uid) {
				continue
			}
			first, err1 := strconv.ParseUint(p[1], 10, 32)
			size, err2 := strconv.ParseUint(p[2], 10, 32)
			if err1 == nil && err2 == nil && uint32(size) > best.size {
				best = idRange{uint32(first), uint32(size)}
			}
		}
	}
	if best.size < minSubIDs {
		flag := "--add-subuids"
		if strings.HasSuffix(file, "gid") {
			flag = "--add-subgids"
		}
		return best, station.Errorf(station.ErrUnavailable, "no_subids",
			"The server's account %s has no ids for sandboxes in %s; run as root: usermod %s 100000-165535 %s.", name, file, flag, name)
	}
	return best, nil
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}
