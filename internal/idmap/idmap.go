// Package idmap says which host ids stand behind those inside a sandbox: by
// user namespaces when the server is not root, by idmapped mounts when it is.
// Sandboxes, homes and the unpacker of images must agree on that: a file that is
// uid 0's in an image is uid 0's in the sandbox.
package idmap

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"staithe/internal/station"
)

// Map is a run of ids, as in /proc/PID/uid_map.
type Map struct {
	Inside, Outside, Size uint32
}

// Rootless is how this process's account maps ids: itself at
// station.SandboxUID, so that homes belong to the person who runs the server,
// and all others from its ranges in /etc/subuid and /etc/subgid. The error
// wraps station.ErrUnavailable and says what to do.
func Rootless() (uids, gids []Map, err error) {
	name := Account()
	sub, err := subRange("/etc/subuid", name, os.Getuid())
	if err != nil {
		return nil, nil, err
	}
	subg, err := subRange("/etc/subgid", name, os.Getuid())
	if err != nil {
		return nil, nil, err
	}
	return around(os.Getuid(), sub), around(os.Getgid(), subg), nil
}

// idRange is one line of /etc/subuid.
type idRange struct{ first, size uint32 }

// minSubIDs is what a sandbox needs: 0–999 and a few above 1000.
const minSubIDs = station.SandboxUID + 1

// around puts own at station.SandboxUID and the range around it.
func around(own int, sub idRange) []Map {
	const mid = station.SandboxUID
	above := min(sub.size-mid, station.UIDRangeSize-mid-1)
	return []Map{
		{Inside: 0, Outside: sub.first, Size: mid},
		{Inside: mid, Outside: uint32(own), Size: 1},
		{Inside: mid + 1, Outside: sub.first + mid, Size: above},
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

// Account is the name of the account that runs this process, or its uid.
func Account() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}
