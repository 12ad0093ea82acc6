package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A new home begins with the server's template, before the host's skeleton, once.
func TestANewHomeHasItsTemplate(t *testing.T) {
	from := t.TempDir()
	for name, content := range map[string]string{".bashrc": "export FROM=template\n", "bin/tool": "#!/bin/sh\necho tool\n"} {
		p := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, "STAITHE_HOME_TEMPLATE="+from)
	if state := templateStateOf(t, s); !strings.Contains(state, `"done"`) {
		t.Fatalf("%s\n%s", state, s.log.String())
	}
	if out := shellOutput(t, s, "main", "bin/tool; cat .bashrc"); out != "tool\nexport FROM=template\n" {
		t.Errorf("%q", out)
	}
	s.bearer(s.token).must(204, "DELETE", "/workstation/files?path=bin", nil, nil)
	s.kill()
	s.again()
	s.bearer(s.token).must(404, "GET", "/workstation/files/stat?path=bin", nil, nil)
}

// A template that cannot be had keeps nobody from their shell.
func TestATemplateThatFails(t *testing.T) {
	s := serve(t, "STAITHE_HOME_TEMPLATE="+filepath.Join(t.TempDir(), "none"))
	if out := shellOutput(t, s, "main", "echo works"); out != "works\n" {
		t.Errorf("%q", out)
	}
	if state := templateStateOf(t, s); !strings.Contains(state, `"failed"`) {
		t.Error(state)
	}
}

// templateStateOf is what became of the first home's template.
func templateStateOf(t *testing.T, s *server) (state string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		list, _ := filepath.Glob(filepath.Join(s.data, "templates", "*.json"))
		for _, f := range list {
			b, err := os.ReadFile(f)
			if state = string(b); err == nil && !strings.Contains(state, `"pending"`) {
				return state
			}
		}
	}
	t.Fatalf("the template came to no end: %s", state)
	return ""
}
