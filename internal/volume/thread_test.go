package volume

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// lockAndDrop binds the goroutine to a thread, which ends with it, and takes
// from that thread the right to go over quotas.
func lockAndDrop(t *testing.T) {
	runtime.LockOSThread()
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		t.Error(err)
		return
	}
	data[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	data[0].Permitted &^= 1 << unix.CAP_SYS_RESOURCE
	if err := unix.Capset(&head, &data[0]); err != nil {
		t.Error(err)
	}
}
