package station

import "math"

// SandboxUID is the uid and gid of the person's shells inside every sandbox.
const SandboxUID = 1000

// UIDRangeSize is how many host uids one user's range has.
const UIDRangeSize = 1 << 16

// hostUIDBase is where the ranges begin: right above the ones that
// systemd-nspawn hands out (524288–1879048191), so that the two never meet.
const hostUIDBase = 1879048192

// MaxUIDRange is the last usable range: the next would reach (uid_t)-2, which
// kernels and NFS servers give a meaning of its own.
const MaxUIDRange = (math.MaxUint32-hostUIDBase)/UIDRangeSize - 1

// HostUID is the host's uid (and gid) for a uid inside the sandboxes of the
// user with that range, when the gateway runs as root. Check the range with
// CheckUIDRange first.
func HostUID(uidRange, uid int) int {
	return hostUIDBase + uidRange*UIDRangeSize + uid
}

// CheckUIDRange says whether a range exists. The error wraps ErrInvalid.
func CheckUIDRange(uidRange int) error {
	if uidRange >= 0 && uidRange <= MaxUIDRange {
		return nil
	}
	return Errorf(ErrInvalid, "bad_uid_range", "The uid range %d is outside 0 to %d.", uidRange, MaxUIDRange)
}
