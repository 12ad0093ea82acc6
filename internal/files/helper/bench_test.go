package helper

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"testing"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
)

// BenchmarkList: a folder of 10,000 files, all of it, as JSON.
func BenchmarkList(b *testing.B) {
	dir := b.TempDir()
	for i := range 10_000 {
		if err := os.WriteFile(fmt.Sprintf("%s/file number %05d.txt", dir, i), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	home, err := files.Open(dir, files.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer home.Close()
	h := Handler(home, filesapi.Health{}, slog.New(slog.DiscardHandler))
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", filesapi.PathList+"?limit=10000", nil))
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
