package sandboxtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"staithe/internal/sandbox"
)

// childEnv tells a test process to be the gateway that is killed.
const childEnv = "SANDBOXTEST_CHILD"

// childOrder is what such a process is to do.
type childOrder struct {
	Data   string
	Spec   sandbox.Spec
	Freeze bool // freeze and thaw the running sandbox again and again, not start it
	Wait   bool // start it when a line comes on standard input
}

// Child is the gateway's side of GuestSurvives. A provider's test file has a
// test of its own that calls only this; it does nothing when run by itself.
func Child(t *testing.T, open Open) {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	var order childOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		t.Fatal(err)
	}
	rt := open(t, order.Data)
	if order.Freeze {
		os.Stdout.WriteString("started\n")
		for {
			if err := errors.Join(rt.Freeze(t.Context(), order.Spec.Session), rt.Thaw(t.Context(), order.Spec.Session)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if order.Wait {
		lock, err := lockData(order.Data)
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
		// The kills are to hit the start itself.
		if p, ok := rt.(interface{ Prepare(context.Context) error }); ok {
			if err := p.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		os.Stdout.WriteString("ready\n")
		if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := rt.Start(t.Context(), order.Spec); err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("started\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed
}

// GuestSurvives kills a gateway and its whole process group with SIGKILL: the
// sandbox lives on and the next gateway finds it. childTest names the test that
// calls Child.
func GuestSurvives(t *testing.T, open Open, _ Abilities, childTest string) {
	data := t.TempDir()
	spec := Spec(t, Home(t, 1), 1)
	order, err := json.Marshal(childOrder{Data: data, Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+childTest+"$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(order))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as a shell with job control would
	cmd.Stderr = os.Stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rt := open(t, data)
	t.Cleanup(func() {
		if err := rt.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		_ = syscall.Kill(-cmd.Process.Pid, sig) // the first that works ends it
	}
	_ = cmd.Wait() // killed, as meant
	if err != nil || !strings.HasPrefix(line, "started") {
		t.Fatalf("the gateway said %q, %v", line, err)
	}
	b := reach(rt, spec)
	if err := b.health(); err != nil {
		t.Fatal("after the kill:", err)
	}
	b.sh(t, "echo works")
}

// FreezeSurvives kills gateways at random moments of freezing and thawing. What
// each leaves is found as it is, can be thawed, frozen and, at last, ended.
func FreezeSurvives(t *testing.T, open Open, able Abilities, childTest string) {
	need(t, able.NoFreeze)
	data := t.TempDir()
	b := start(t, open(t, data), Spec(t, Home(t, 1), 1))
	inside := b.processes(t, able)
	order, err := json.Marshal(childOrder{Data: data, Spec: b.Spec, Freeze: true})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^"+childTest+"$")
		cmd.Env = append(os.Environ(), childEnv+"="+string(order))
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		<-time.After(rand.N(20 * time.Millisecond)) // anywhere in the middle
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as meant
		if err != nil || !strings.HasPrefix(line, "started") {
			t.Fatalf("the gateway said %q, %v", line, err)
		}
		rt := open(t, data)
		info, there, err := rt.Find(t.Context(), b.Session)
		if err != nil || !there || !info.Running {
			t.Fatalf("found %+v, there %v, %v", info, there, err)
		}
		t.Logf("left frozen: %v", info.Frozen)
		if round%2 == 0 {
			if err := rt.Freeze(t.Context(), b.Session); err != nil {
				t.Fatal(err)
			}
		}
		if round == 5 {
			break // ended as it was left
		}
		if err := rt.Thaw(t.Context(), b.Session); err != nil {
			t.Fatal(err)
		}
		if err := b.health(); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, data).Stop(t.Context(), b.Session); err != nil {
		t.Fatal(err)
	}
	if left := inside(); len(left) != 0 {
		t.Errorf("processes left: %v", left)
	}
	Traceless(t, data, b.Session)
}

// StopWithoutNotes ends a sandbox of which nearly all notes are lost or
// corrupt. Only for providers whose sandboxes have cgroups.
func StopWithoutNotes(t *testing.T, open Open, _ Abilities) {
	for name, spoil := range map[string]func(t *testing.T, data, session string){
		"no record": func(t *testing.T, data, session string) {
			remove(t, filepath.Join(data, "sandboxes", session, "record.json"))
		},
		"garbage record": func(t *testing.T, data, session string) {
			overwrite(t, filepath.Join(data, "sandboxes", session, "record.json"), "{\"pid\": -1")
		},
		"no engine state": func(t *testing.T, data, session string) {
			remove(t, filepath.Join(data, "run"))
		},
		"garbage engine state": func(t *testing.T, data, session string) {
			states, err := filepath.Glob(filepath.Join(data, "run", "*", session, "*"))
			if err != nil || len(states) == 0 {
				t.Fatal("no state:", err)
			}
			for _, path := range states {
				if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
					overwrite(t, path, "garbage")
				}
			}
		},
		"neither": func(t *testing.T, data, session string) {
			remove(t, filepath.Join(data, "sandboxes", session))
			remove(t, filepath.Join(data, "run"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			b := start(t, open(t, data), Spec(t, Home(t, 1), 1))
			inside := pidNamespace(t, b.pid(t))
			spoil(t, data, string(b.Session))
			if err := open(t, data).Stop(t.Context(), b.Session); err != nil {
				t.Fatal(err)
			}
			if left := processesIn(t, inside); len(left) != 0 {
				t.Errorf("processes left: %v", left)
			}
			Traceless(t, data, b.Session)
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
