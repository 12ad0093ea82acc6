package oci

import (
	"strings"

	"staithe/internal/station"
)

// Describe says in plain words what the boundary of a class's sandboxes is here.
// Their programs and their network are fields of the class, and said from those.
func (r *Runtime) Describe(class station.Class) string {
	var s []string
	say := func(sentence string) { s = append(s, sentence) }

	engine := class.Runtime
	if engine == "" {
		engine = "the server's container runtime"
		if eng, err := r.engines.find(r.engine); err == nil {
			engine = string(eng.kind)
		}
	}
	apart := "its own user, pid, mount, network and ipc namespaces and moby's seccomp profile; it shares the host's kernel."
	if engine == string(runsc) {
		say("Each session has a kernel of its own, gVisor's, made by runsc: a process that answers its programs' system calls and makes few of its own to the host's kernel, in a host uid range per user, in namespaces of its own.")
		say("Programs are slower, those that start others or use many files by several times. File locks are not seen by other sessions. When a session's memory is used up, all of it ends.")
	} else if r.root {
		say("Each session is a container made by " + engine + ", with a host uid range per user, " + apart)
	} else {
		say("Each session is a rootless container made by " + engine + ", with " + apart +
			" On the host all users' files belong to one uid, the server's own.")
	}
	if class.Sudo {
		say("The person can become root inside, with the capabilities that apt and sudo need; on the host that root is nobody.")
	} else {
		say("Shells have no capabilities and get no new privileges.")
	}
	if r.root {
		say(r.homes.describe())
	}
	if not := r.unenforced(class.Limits, class.Base != "" && class.Base != station.BaseHost); not != "" {
		say("N" + not[1:] + ".")
	}
	return strings.Join(s, " ")
}

// describe says how homes are had, as far as a start has shown it.
func (h *homes) describe() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, err := range h.able {
		if err != nil {
			return "Homes belong to the user's uid range, as the file system cannot mount them idmapped."
		}
	}
	return "Homes belong to uid 1000 on disk and are mounted idmapped."
}
