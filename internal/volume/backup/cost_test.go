package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// To verify a snapshot of one change asks the store for what is new, however many
// folders the home has.
func TestVerifyReadsWhatIsNew(t *testing.T) {
	t.Parallel()
	b, s := newS3Bench(t)
	for i := range 2000 {
		if err := os.MkdirAll(filepath.Join(b.home, fmt.Sprint(i/50), fmt.Sprint(i)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.home, fmt.Sprint(i/50), fmt.Sprint(i), "f"), []byte(fmt.Sprint(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.tell("0")
	b.safe()
	b.settled()
	asked := s.Requests.Load()
	b.write("7/350/f", "changed")
	b.safe()
	b.settled()
	n := s.Requests.Load() - asked
	t.Logf("%d requests", n)
	if n > 150 {
		t.Errorf("%d requests for one change", n)
	}
}
