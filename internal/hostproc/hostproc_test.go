package hostproc

import (
	"os/exec"
	"testing"
	"time"
)

// Wait ends with the process, or with its patience; it harms nothing.
func TestWait(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Note(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(10 * time.Millisecond); err == nil || !p.Alive() {
		t.Errorf("it runs: %v", err)
	}
	in.Close() // and cat ends
	if err := p.Wait(time.Minute); err != nil || p.Alive() {
		t.Errorf("it has ended: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := p.Wait(time.Minute); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}
