package egress_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"staithe/internal/egress"
	"staithe/internal/station"
)

// TestAWayOutKeepsNoPrivileges: whoever takes the process over has an account that
// owns nothing, and nothing to get more with.
func TestAWayOutKeepsNoPrivileges(t *testing.T) { onBothPaths(t, testAWayOutKeepsNoPrivileges) }

func testAWayOutKeepsNoPrivileges(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	_, spec := connected(t, e, internet)
	takes(t, e, spec.Session, path)
	info, there, err := e.Find(t.Context(), spec.Session)
	if err != nil || !there || info.PID <= 1 {
		t.Fatalf("%+v %v", info, err)
	}
	account := fmt.Sprint(os.Geteuid())
	if os.Geteuid() == 0 {
		account = fmt.Sprint(station.HostUID(station.MaxUIDRange+1, 0))
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", info.PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", info.PID, task.Name()))
		if os.IsNotExist(err) {
			continue // a thread that ended
		}
		if err != nil {
			t.Fatal(err)
		}
		has := map[string]string{}
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			has[name] = strings.Join(strings.Fields(value), " ")
		}
		four := strings.Join([]string{account, account, account, account}, " ")
		for name, want := range map[string]string{"Uid": four, "Gid": four, "Groups": "", "NoNewPrivs": "1",
			"CapInh": strings.Repeat("0", 16), "CapPrm": strings.Repeat("0", 16), "CapEff": strings.Repeat("0", 16), "CapAmb": strings.Repeat("0", 16)} {
			if has[name] != want {
				t.Errorf("thread %s: %s is %q, not %q", task.Name(), name, has[name], want)
			}
		}
	}
	// What belongs to a process that cannot be dumped is root's in /proc: nobody of
	// its account reads its memory or traces it (proc(5)).
	info2, err := os.Stat(fmt.Sprintf("/proc/%d/mem", info.PID))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info2.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("others of its account may trace it: /proc has its memory as uid %d's", uid)
	}
}
