// Package confine is what every provider that isolates confines a guest and its
// shells with, whichever program makes the sandbox: the seccomp profile, the
// capabilities, the hidden paths.
package confine

import (
	"fmt"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ConfigEnv is guestapi.ConfigEnv: this room may not import that one.
const ConfigEnv = "STAITHE_GUEST_CONFIG"

// SocketEnv is guestapi.SocketEnv.
const SocketEnv = "STAITHE_GUEST_SOCKET"

// ListenEnv is guestapi.ListenEnv.
const ListenEnv = "STAITHE_GUEST_LISTEN"

// GuestInside is where the guest's binary is in a sandbox. /run belongs to the
// sandbox's root: a shell cannot put another there.
const GuestInside = "/run/staithe/guest"

// MaxPIDs bounds the processes and threads of a sandbox.
const MaxPIDs = 2048

// GuestCapabilities are what PID 1 keeps: to become the person, to hand over a
// terminal, to end shells. Shells have none.
var GuestCapabilities = []string{"CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"}

// Capabilities are GuestCapabilities as a bundle has them.
func Capabilities() *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: GuestCapabilities, Effective: GuestCapabilities, Permitted: GuestCapabilities}
}

// Seccomp is moby's default for those capabilities: without CAP_SYS_ADMIN it
// refuses new user namespaces, mounts and bpf. Only the native architecture is
// let in: the 32-bit socketcall would hide a socket's family from the filter.
func Seccomp(caps *specs.LinuxCapabilities) (*specs.LinuxSeccomp, error) {
	profile, err := seccomp.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: caps}})
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	if len(profile.Architectures) > 1 {
		profile.Architectures = profile.Architectures[:1]
	}
	return profile, nil
}

// Capped is a limit that never asks for more than this process may give.
func Capped(which int, soft, hard uint64) (unix.Rlimit, error) {
	var now unix.Rlimit
	if err := unix.Getrlimit(which, &now); err != nil {
		return now, fmt.Errorf("read limits: %w", err)
	}
	hard = min(hard, now.Max)
	return unix.Rlimit{Cur: min(soft, hard), Max: hard}, nil
}

// MaskedPaths tell about the host's hardware and kernel and help nobody inside.
var MaskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/cgroup", "/sys/kernel/debug", "/sys/kernel/security", "/sys/module",
}

// ReadonlyPaths are the kernel's switches, to look at only.
var ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
