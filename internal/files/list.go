package files

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// Sort is the order of a list.
type Sort string

// The orders there are. Equal ones are in the order of their names' bytes.
const (
	ByName Sort = "name" // as a person reads it: case does not count
	BySize Sort = "size"
	ByTime Sort = "time"
)

const (
	pageDefault = 1000
	pageMax     = 10000
	// folderMax is how many names of one folder are looked at.
	folderMax = 1 << 20
)

// ListOptions say what a list should have.
type ListOptions struct {
	Sort         Sort // default ByName
	Descending   bool
	Hidden       bool   // names that begin with a dot too
	FoldersFirst bool   // folders before all others, in every order
	Limit        int    // entries of a page; default 1000, at most 10000
	Cursor       string // Listing.Next of the page before, with the same options
}

// Listing is one page of a folder.
type Listing struct {
	Entries []Entry `json:"entries"`
	Total   int     `json:"total"` // names in the folder that the options ask for, on all pages
	Next    string  `json:"next,omitempty"`
	// Cut says that the folder has more names than are looked at.
	Cut bool `json:"cut,omitempty"`
}

// item is a name while a list is made.
type item struct {
	name   string
	folder bool
	fold   string // lower case, when names are the order
	number int64  // size or time, when those are
	st     unix.Stat_t
	seen   bool // st is filled
}

// cursor is where a page ended. It holds the place in the order and not a
// number: what came and went meanwhile neither doubles nor hides the others.
type cursor struct {
	Sort       Sort   `json:"s"`
	Descending bool   `json:"d,omitempty"`
	First      bool   `json:"f,omitempty"`
	Folder     bool   `json:"k,omitempty"`
	Number     int64  `json:"n,omitempty"`
	Name       []byte `json:"b"`
}

// List is a page of a folder. p may be a link to a folder in the home.
func (h *Home) List(ctx context.Context, p Path, o ListOptions) (Listing, error) {
	p, err := p.Clean()
	if err != nil {
		return Listing{}, err
	}
	after, err := o.check()
	if err != nil {
		return Listing{}, err
	}
	dir, err := h.folder(p)
	if err != nil {
		return Listing{}, explain(p, err)
	}
	defer dir.Close()
	items, cut, err := readItems(ctx, dir, o)
	if err != nil {
		return Listing{}, explain(p, err)
	}
	order := o.order()
	slices.SortFunc(items, order)
	out := Listing{Entries: []Entry{}, Total: len(items), Cut: cut}
	from := 0
	if after != nil {
		from, _ = slices.BinarySearchFunc(items, *after, order)
		if from < len(items) && order(items[from], *after) == 0 {
			from++
		}
	}
	for i := from; i < len(items); i++ {
		if len(out.Entries) == o.Limit {
			out.Next = o.cursorAt(items[i-1])
			break
		}
		it := &items[i]
		if !it.look(dir) {
			continue // gone meanwhile
		}
		out.Entries = append(out.Entries, h.entry(dir, p.Join(it.name), it.name, it.st))
	}
	return out, nil
}

// check fills the defaults in and reads the cursor.
func (o *ListOptions) check() (after *item, err error) {
	switch o.Sort {
	case "":
		o.Sort = ByName
	case ByName, BySize, ByTime:
	default:
		return nil, station.Errorf(station.ErrInvalid, "bad_sort", "A list is sorted by name, size or time.")
	}
	if o.Limit == 0 {
		o.Limit = pageDefault
	}
	if o.Limit < 1 || o.Limit > pageMax {
		return nil, station.Errorf(station.ErrInvalid, "bad_limit", "A page has 1 to %d entries.", pageMax)
	}
	if o.Cursor == "" {
		return nil, nil
	}
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(o.Cursor)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || c.Sort != o.Sort || c.Descending != o.Descending || c.First != o.FoldersFirst {
		return nil, station.Errorf(station.ErrInvalid, "bad_cursor", "This cursor is of another list; begin without one.")
	}
	name := string(c.Name)
	return &item{name: name, folder: c.Folder, fold: strings.ToLower(name), number: c.Number}, nil
}

func (o *ListOptions) cursorAt(it item) string {
	b, err := json.Marshal(cursor{o.Sort, o.Descending, o.FoldersFirst, it.folder, it.number, []byte(it.name)})
	if err != nil {
		return "" // it has no type that could fail
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (o *ListOptions) order() func(a, b item) int {
	return func(a, b item) int {
		if o.FoldersFirst && a.folder != b.folder {
			if a.folder {
				return -1
			}
			return 1
		}
		c := cmp.Compare(a.number, b.number)
		if c == 0 && o.Sort == ByName {
			c = strings.Compare(a.fold, b.fold)
		}
		if c == 0 {
			c = strings.Compare(a.name, b.name)
		}
		if o.Descending {
			return -c
		}
		return c
	}
}

// readItems reads a folder's names with what their order needs.
func readItems(ctx context.Context, dir *os.File, o ListOptions) (items []item, cut bool, err error) {
	const batch = 4096
	for {
		entries, err := dir.ReadDir(batch)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, false, err
		}
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		for _, e := range entries {
			if e.Name()[0] == '.' && !o.Hidden {
				continue
			}
			if len(items) == folderMax {
				return items, true, nil
			}
			it := item{name: e.Name(), folder: e.Type() == fs.ModeDir}
			if o.Sort == ByName {
				it.fold = strings.ToLower(it.name)
			} else if it.look(dir) {
				it.number = it.st.Mtim.Nano()
				if o.Sort == BySize {
					it.number = sizeOf(it.st)
				}
			} else {
				continue // gone meanwhile
			}
			items = append(items, it)
		}
		if len(entries) == 0 {
			return items, false, nil
		}
	}
}

func sizeOf(st unix.Stat_t) int64 {
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		return st.Size
	}
	return 0
}

// look fills in what the name is; false: it is gone.
func (it *item) look(dir *os.File) bool {
	if !it.seen {
		st, err := lstat(dir, it.name)
		it.st, it.seen = st, err == nil
	}
	return it.seen
}
