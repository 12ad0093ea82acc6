package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The page's types are generated from the document that the running server
// serves; after a change of the API: `make api`.
func TestPageTypesAreOfThisAPI(t *testing.T) {
	s := serve(t)
	status, doc := s.client().do("GET", "/openapi.json", nil)
	if status != 200 {
		t.Fatalf("the document: %d", status)
	}
	file := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(file, doc, 0o644); err != nil {
		t.Fatal(err)
	}
	const committed = "../../web/src/lib/api/schema.gen.ts"
	generated := committed
	if os.Getenv("STAITHE_UPDATE_API") == "" {
		generated = filepath.Join(t.TempDir(), "schema.gen.ts")
	}
	out, err := filepath.Abs(generated)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "../../web/tools/gen-api.mjs", file, out)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("generate: %v\n%s", err, msg)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("web/src/lib/api/schema.gen.ts is not of this API; run `make api` and commit it")
	}
}
