package wire

import "testing"

func TestCheckSize(t *testing.T) {
	for _, c := range []struct {
		cols, rows int
		ok         bool
	}{
		{1, 1, true}, {80, 24, true}, {1000, 1000, true}, {0, 24, false}, {80, 0, false}, {-1, -1, false},
		{4096, 4096, true}, {4097, 1, false}, {1, 4097, false}, {1 << 40, 1 << 40, false},
	} {
		if err := CheckSize(c.cols, c.rows); (err == nil) != c.ok {
			t.Errorf("%d × %d: %v", c.cols, c.rows, err)
		}
	}
}
