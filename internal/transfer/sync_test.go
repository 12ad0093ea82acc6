package transfer

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What could not be read at the source is not gone there: nothing is deleted at the
// target then, and the person is told.
func TestSyncDeletesNothingOfWhatItCannotSee(t *testing.T) {
	for name, closed := range map[string]http.HandlerFunc{
		"a closed folder": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"code":"not_permitted","detail":"Its permissions do not allow this."}`)
		},
		"a folder that is listed in part": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"entries":[],"total":0,"cut":true}`)
		},
		"readable": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"entries":[],"total":0}`) },
	} {
		t.Run(name, func(t *testing.T) {
			dst := t.TempDir()
			for _, p := range []string{"closed/mine", "extra"} {
				if err := os.MkdirAll(filepath.Join(dst, "closed"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dst, p), []byte("precious"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			j := hostile(t, func(w http.ResponseWriter, r *http.Request) {
				switch p := r.URL.Query().Get("path"); {
				case strings.HasSuffix(r.URL.Path, "/stat"):
					fmt.Fprint(w, entry("t", "folder", ""))
				case p == "t":
					fmt.Fprintf(w, `{"entries":[%s],"total":1}`, entry("closed", "folder", ""))
				default:
					closed(w, r)
				}
			})
			err := j.SyncDown(t.Context(), "t", dst, SyncOptions{Delete: true})
			kept := 0
			for _, p := range []string{"closed/mine", "extra"} {
				if _, err := os.Lstat(filepath.Join(dst, p)); err == nil {
					kept++
				}
			}
			if readable := name == "readable"; readable && (err != nil || kept != 0) || !readable && (err == nil || kept != 2) {
				t.Errorf("%v; %d files are left", err, kept)
			}
		})
	}
}
