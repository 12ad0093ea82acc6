package sandboxtest

import "testing"

// Abilities say what a provider honestly cannot do where it runs, each with the
// reason in a sentence; empty: it can. The suite then checks that the provider
// refuses as the interface says, where it says so, and skips the rest loudly.
type Abilities struct {
	NoFreeze    string // Freeze fails with sandbox.ErrNoFreeze
	NoUsage     string // Usage measures nothing
	NoMemory    string // memory is not limited
	NoOOMName   string // what was killed for want of memory is not known
	NoCPU       string // processor time is not limited
	NoPIDs      string // processes are not limited
	NoPTYs      string // terminals are not limited
	NoInotify   string // inotify is not limited
	NoScratch   string // /tmp and /var/tmp are not limited
	NoInodes    string // the number of files in /tmp and the like is not limited by itself
	NoAttach    string // there is no network namespace to attach to
	NoPID       string // the guest is no process of the host that can be looked at
	NoImage     string // Spec.Base is not taken
	NoSudo      string // Spec.Sudo is not taken
	NoLogBound  string // what the guest logs is bounded by others than the provider, or not at all
	NoNamespace string // sandboxes are not apart in namespaces
	NoPIDCount  string // Usage does not know how many processes run
	OwnKernel   string // namespaces, limits and capabilities inside are those of a kernel of the sandbox's own, with numbers of its own
	OOMEndsAll  string // when the memory is used up the whole sandbox ends
	NoUserNS    string // no user namespace: the guest is the host's root, the person the home's owner
	LateService string // a service may still be making the sandbox that a killed server asked it for
	// Harmless names attacks (see testdata/probeguest), with their arguments or for
	// any, that this provider lets succeed, because what they reach is the
	// sandbox's own and not the host's.
	Harmless map[string]string
}

// need skips a test, loudly, for a reason that is not empty.
func need(t *testing.T, reason string) {
	t.Helper()
	if reason != "" {
		t.Skip("not on this provider: " + reason)
	}
}
