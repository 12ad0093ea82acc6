package station

import (
	"errors"
	"math"
	"testing"
)

func TestHostUID(t *testing.T) {
	if got := HostUID(0, 0); got != 1879048192 {
		t.Errorf("first uid is %d", got)
	}
	if got := HostUID(2, SandboxUID); got != 1879048192+2*65536+1000 {
		t.Errorf("shell of range 2 is %d", got)
	}
	if last := HostUID(MaxUIDRange, UIDRangeSize-1); last >= math.MaxUint32-1 || HostUID(MaxUIDRange+1, UIDRangeSize-1) < math.MaxUint32-1 {
		t.Errorf("last uid is %d", last)
	}
	for r, ok := range map[int]bool{-1: false, 0: true, MaxUIDRange: true, MaxUIDRange + 1: false} {
		if err := CheckUIDRange(r); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("range %d: %v", r, err)
		}
	}
}
