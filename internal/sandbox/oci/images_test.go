package oci

import (
	"os"
	"testing"

	"staithe/internal/image/imagetest"
	"staithe/internal/sandbox/sandboxtest"
)

func TestImages(t *testing.T) {
	rootfs := testImage(t)
	each(t, func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities) {
		sandboxtest.RunImage(t, open, able, rootfs)
	})
}

func TestAbuse35_HostIsOutOfReachOfRoot(t *testing.T) {
	rootfs := testImage(t)
	each(t, func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities) {
		sandboxtest.HostIsOutOfReachOfRoot(t, open, able, rootfs)
	})
}

func TestAbuse37_BombsOfRoot(t *testing.T) {
	rootfs := testImage(t)
	each(t, func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities) {
		sandboxtest.BombsOfRoot(t, open, able, rootfs)
	})
}

func TestAbuse38_KernelIsClosedToRoot(t *testing.T) {
	rootfs := testImage(t)
	each(t, func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities) {
		sandboxtest.KernelIsClosedToRoot(t, open, able, rootfs)
	})
}

// testImage unpacks the image that tests stand on.
func testImage(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("sandboxes on images need a server that is root")
	}
	return imagetest.Import(t, t.TempDir()).Rootfs
}
