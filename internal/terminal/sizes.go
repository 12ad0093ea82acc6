package terminal

// maxSizes is how many sizes a terminal remembers.
const maxSizes = 1024

// sizes is how large a terminal was from which byte on. Whoever draws old bytes draws
// them at the size that they were written for, as the emulator did: at another they
// come out as something else, and not for these lines alone.
type sizes struct {
	kept  []SizeEvent // the first is in force where the log begins, or later
	first int         // the number of kept[0]
}

// add notes a size, and forgets those of bytes before start.
func (s *sizes) add(e SizeEvent, start int64) {
	s.kept = append(s.kept, e)
	for len(s.kept) > maxSizes || len(s.kept) > 1 && s.kept[1].Offset <= start {
		s.kept = s.kept[1:]
		s.first++
	}
}

// end is the number of the size that comes next.
func (s *sizes) end() int { return s.first + len(s.kept) }

// from is the size number n, or nil where it is not there yet.
func (s *sizes) from(n int) *SizeEvent {
	if n < s.first || n >= s.end() {
		return nil
	}
	e := s.kept[n-s.first]
	return &e
}

// at is the size in force at offset, once all changes there were made, and the number
// of the one after it; nil where it was forgotten. clear says that whoever is at offset
// goes there as the emulator did: of several changes nobody knows which were heard of,
// and a line may have been cut in between.
func (s *sizes) at(offset int64) (size *SizeEvent, next int, clear bool) {
	n := s.end()
	for n > s.first && s.from(n-1).Offset > offset {
		n--
	}
	before := s.from(n - 2)
	return s.from(n - 1), n, n == 2 || before == nil || before.Offset < offset
}
