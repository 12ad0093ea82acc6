// Package e2e drives the running binary as people do, and keeps the rules of
// the house that span rooms.
package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// rooms is who may import whom, each with the reason (doc/arch.md). "+" is any
// third-party module.
var rooms = []struct{ room, may, why string }{
	{"cmd/staithe", "* +", "wiring: it puts all the parts together"},
	{"cmd/staithe-guest", "internal/guest", "small: what is linked into PID 1 is attack surface in every sandbox"},
	{"cmd/staithe-egress", "internal/egress", "small: one runs beside every session"},
	{"cmd/staithe-files", "internal/files", "small: it reads what is hostile"},
	{"cmd/staithe-backup", "internal/volume +", "small: it makes the jails in which backups read what is hostile"},
	{"internal/station", "", "the vocabulary depends on nothing, or everything would depend on what it depends on"},
	{"internal/wire", "", "the wire is a contract: another implementation needs only this room and its vectors"},
	{"internal/vt", "", "the emulator could be a library of its own"},
	{"internal/replay", "", "the log knows bytes and offsets, nothing else"},
	{"internal/terminal", "internal/station internal/vt internal/replay +", "a terminal knows no wire format: doors translate"},
	{"internal/lockdown", "+", "what is taken away is the same for all who read what is hostile"},
	{"internal/files", "internal/station internal/lockdown +", "files are reached through one root, whoever asks"},
	{"internal/files/watch", "internal/files internal/station +", "it knows homes by their folders, not who asks"},
	{"internal/files/keeper", "internal/files internal/station internal/idmap internal/hostproc internal/keylock +", "the helper outlives the gateway, and sees a home as sandboxes do"},
	{"internal/transfer", "internal/station internal/files +", "a client is outside: it knows the API, not who serves it"},
	{"internal/guestapi", "internal/station +", "both sides of the socket link it"},
	{"internal/guest", "internal/station internal/wire internal/terminal internal/guestapi +", "the guest knows no SQL, no gateway, no runtime"},
	{"internal/muxclient", "internal/station internal/wire +", "a client is outside: it knows the wire, not who serves it"},
	{"internal/idmap", "internal/station +", "sandboxes, images and homes must agree whose file is whose"},
	{"internal/hostproc", "+", "a process is found again and signalled the same way by all who leave one behind"},
	{"internal/rootlesstest", "", "the account that tests run in again is the same for all, whatever they test"},
	{"internal/s3test", "+", "the store that tests use is the same for all, whatever they keep in it"},
	{"internal/keylock", "", "waiting one's turn depends on nothing"},
	{"internal/sandbox", "internal/station internal/idmap internal/hostproc internal/keylock +", "a provider knows what a session is called, not who owns it"},
	{"internal/egress", "internal/station internal/hostproc internal/keylock +", "the network of a session outlives the gateway"},
	{"internal/image", "internal/station internal/idmap +", "an image is files on disk, whoever runs them"},
	{"internal/volume", "internal/station internal/idmap internal/lockdown internal/keylock +", "homes outlive everything"},
	{"internal/restore", "internal/station internal/files internal/volume internal/keylock +", "what comes back from a repository goes into homes, through their helpers"},
	{"internal/store", "internal/station +", "all SQL is here, and only cmd/staithe hands it in"},
	{"internal/auth", "internal/station +", "who may is decided without knowing what is behind the door"},
	{"internal/fleet", "internal/station internal/guestapi internal/sandbox internal/volume internal/egress internal/keylock +", "a session's life, whatever the database and the door"},
	{"internal/preview", "internal/station internal/auth internal/fleet +", "a door"},
	{"internal/broker", "internal/station internal/auth internal/fleet +", "a door"},
	{"internal/agents", "internal/station internal/auth internal/fleet +", "a door"},
	{"internal/sshd", "internal/station internal/auth internal/fleet +", "a door"},
	{"internal/gateway", "internal/station internal/wire internal/guestapi internal/auth internal/fleet internal/volume internal/config internal/files internal/files/watch internal/preview internal/broker internal/agents +", "the door relays bytes it does not parse: no terminal, no guest, no store, no sandbox"},
	{"internal/config", "", "settings are read before anything else exists"},
	{"internal/e2e", "* +", "tests of the whole"},
	{"web", "", "the built page"},
}

type goPackage struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages listed", len(pkgs))
	}
	return pkgs
}

// room is the longest room that a package is in.
func room(pkg string) (name, may, why string, ok bool) {
	for _, r := range rooms {
		if (pkg == r.room || strings.HasPrefix(pkg, r.room+"/")) && len(r.room) > len(name) {
			name, may, why, ok = r.room, r.may, r.why, true
		}
	}
	return name, may, why, ok
}

func TestWhoMayImportWhom(t *testing.T) {
	for _, p := range listPackages(t) {
		path := strings.TrimPrefix(p.ImportPath, "staithe/")
		name, may, why, ok := room(path)
		if !ok {
			t.Errorf("%s is in no room: add it to this table and to doc/arch.md", path)
			continue
		}
		allowed := strings.Fields(may)
		for _, imp := range p.Imports {
			if bad := forbidden(name, allowed, imp); bad {
				t.Errorf("%s imports %s, which %s may not: %s", path, imp, name, why)
			}
		}
	}
}

func forbidden(name string, allowed []string, imp string) bool {
	ours, isOurs := strings.CutPrefix(imp, "staithe/")
	thirdParty := !isOurs && strings.Contains(strings.SplitN(imp, "/", 2)[0], ".")
	if !isOurs && !thirdParty {
		return false
	}
	to := "+"
	if isOurs {
		to, _, _, _ = room(ours)
		if to == name {
			return false
		}
	}
	for _, a := range allowed {
		if a == to || a == "*" && isOurs {
			return false
		}
	}
	return true
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.Doc == "" && !strings.Contains(p.ImportPath, "/testdata/") {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

func TestEveryDirectDependencyHasItsLine(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../doc/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.Contains(line, "// indirect") || !strings.Contains(fields[0], "/") {
			continue
		}
		seen++
		if !strings.Contains(string(doc), "`"+fields[0]+"`") {
			t.Errorf("doc/dependencies.md has no line for %s", fields[0])
		}
	}
	if seen == 0 {
		t.Error("no dependency found in go.mod")
	}
}
