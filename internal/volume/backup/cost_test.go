package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// What is read back is chosen by the sizes that files have now. Where the snapshot
// has others, those count: a file that was larger is not what makes it damaged.
func TestVerifyOfFilesThatBecameSmall(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.settled()
	b.write("same", "content")
	b.safe()
	b.settled()
	for _, size := range []int{1000, sampleOne + 1000} {
		b.write("f", strings.Repeat("x", size))
		b.safe()
		b.settled()
		list, err := b.e.Snapshots(b.ws)
		if err != nil || len(list) < 2 || list[0].Verified.IsZero() {
			t.Fatalf("%+v %v", list, err)
		}
		small := t.TempDir()
		if err := os.WriteFile(filepath.Join(small, "f"), []byte("small"), 0o600); err != nil {
			t.Fatal(err)
		}
		u, err := b.e.unit(b.ws)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.verify(t.Context(), small, list[1].ID, list[0].ID); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
