package image

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"staithe/internal/idmap"
	"staithe/internal/rootlesstest"
	"staithe/internal/station"
)

// TestRootless runs the tests of the store, the formats and the registry again in
// an account that is not root, where none of them may be skipped.
func TestRootless(t *testing.T) {
	passed := rootlesstest.Run(t, rootlesstest.Again{Run: "^(TestImport.*|TestPull.*|TestHold.*|TestStopped.*|TestPath.*|TestOwners.*|TestTheImages.*)$", NoSkips: true})
	if passed < 20 {
		t.Errorf("%d tests passed", passed)
	}
}

// Files are on disk as those ids that stand behind a sandbox's.
func TestOwnersAreThoseOfSandboxes(t *testing.T) {
	s := newStore(t, Options{})
	more := []entry{{name: "root/x", uid: 0, gid: 0}, {name: "srv/app", uid: 1000, gid: 1000}, {name: "srv/far", uid: 60000, gid: 42}, {name: "usr/bin/su", mode: 0o4755, body: "x"}}
	img := mustImport(t, s, "deb", write(t, "1.tar", tarOfEntries(t, system(t, "one", more...)...)))
	outside := func(id uint32, _ []idmap.Map) uint32 { return id }
	var uids, gids []idmap.Map
	if os.Geteuid() != 0 {
		var err error
		if uids, gids, err = idmap.Rootless(); err != nil {
			t.Fatal(err)
		}
		outside = func(id uint32, maps []idmap.Map) uint32 {
			for _, m := range maps {
				if id >= m.Inside && id-m.Inside < m.Size {
					return m.Outside + id - m.Inside
				}
			}
			t.Fatalf("%d is not mapped", id)
			return 0
		}
		if outside(station.SandboxUID, uids) != uint32(os.Getuid()) {
			t.Fatal("the account is not its sandboxes' person")
		}
	}
	for _, e := range more {
		info, err := os.Lstat(filepath.Join(img.Rootfs, e.name))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Uid != outside(uint32(e.uid), uids) || st.Gid != outside(uint32(e.gid), gids) || e.mode&0o4000 != 0 != (info.Mode()&os.ModeSetuid != 0) {
			t.Errorf("%s: %d:%d %v", e.name, st.Uid, st.Gid, info.Mode())
		}
	}
}
