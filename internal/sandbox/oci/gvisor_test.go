package oci

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox/sandboxtest"
)

// gvisorAbilities are what is different under runsc.
func gvisorAbilities(a *sandboxtest.Abilities) {
	a.OwnKernel = "they are the sentry's, which numbers them alike in every sandbox"
	a.NoPID = "on the host there is the sentry, not the guest; what runs inside is in no namespace of the host's"
	a.NoPIDCount = "the sentry's threads say nothing of what runs inside"
	a.OOMEndsAll = "all the memory inside is one process's, the sentry's, so that the sandbox ends when it is used up"
	a.NoOOMName = "it is always the sentry"
	a.NoPTYs = "terminals are the sentry's own: they cost memory, which is limited, and none of the host's"
	a.NoInodes = "gVisor's file systems in memory have no bound on the number of files, which take of the session's memory, which is limited"
	a.NoInotify = "watches are the sentry's own: they cost memory, which is limited, and none of the host's"
	const own = "it is the sentry that answers, and nothing of the host's is reached"
	a.Harmless = map[string]string{"kill-init": "it ends the session of who does it"}
	for _, attack := range []string{"keyctl", "clone-user", "clone3-user", "open-write /proc/sysrq-trigger",
		"open-write /proc/sys/kernel/hostname", "open-write /proc/sys/net/ipv4/ip_forward"} {
		a.Harmless[attack] = own
	}
}

// needEngine skips, loudly, where gVisor is missing: unlike crun and runc it is in
// no distribution.
func needEngine(t *testing.T, kind engineKind) {
	t.Helper()
	if kind != runsc {
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("runsc is driven by a server that is root only")
	}
	if _, err := lookPath(string(runsc)); err != nil {
		t.Skip("runsc is not installed, so that nothing of gVisor is tested: tools/setup.sh test, or " + gvisorInstall)
	}
}

// Nobody inside, its root neither, can put another socket in the place of the
// guest's once the guest listens.
func TestAbuse35_GuestsOwnSocketStays(t *testing.T) {
	needEngine(t, runsc)
	rt := opener(t, string(runsc))(t, t.TempDir()).(*Runtime)
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	if err := rt.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
	})
	for _, attack := range []string{
		"rm -f " + madeInside + "/guest.sock", "mv " + madeInside + "/guest.sock " + madeInside + "/other", "touch " + madeInside + "/x",
		"ln -s /x " + madeInside + "/y", "chmod 777 " + madeInside, "mkdir " + madeInside + "/d",
	} {
		for _, root := range []bool{false, true} {
			if got := sandboxtest.Command(t, rt, spec, root, "if "+attack+" 2>/dev/null; then echo done; fi"); got != "" {
				t.Errorf("%s (root inside: %v): %s", attack, root, got)
			}
		}
	}
	sandboxtest.Command(t, rt, spec, true, "chown 0:0 "+madeInside+" || :") // the sentry may say that it is root's already
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(rt.dir(spec.Session), madeName), &st); err != nil || st.Uid != 0 || st.Mode&0o7777 != 0o700 {
		t.Errorf("the folder: %+v %v", st, err)
	}
	if got := sandboxtest.Command(t, rt, spec, false, "echo answers"); got != "answers" {
		t.Errorf("the guest: %q", got)
	}
}
