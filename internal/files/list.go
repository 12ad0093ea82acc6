package files

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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
	ByTime Sort = "mtime"
	ByKind Sort = "kind" // folders, files, links, all else
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
	Next    string  `json:"cursor,omitempty"`
	// Cut says that the folder has more names than are looked at.
	Cut bool `json:"cut,omitempty"`
}

// item is a name while a list is made.
type item struct {
	name   string
	folder bool
	fold   string // lower case, when names are the order
	number int64  // size, time or kind, when those are
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
	out := Listing{Entries: make([]Entry, 0, min(o.Limit, len(items))), Total: len(items), Cut: cut}
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
		st, err := lstat(dir, items[i].name)
		if err != nil {
			continue // gone meanwhile
		}
		out.Entries = append(out.Entries, h.entry(dir, p.Join(items[i].name), items[i].name, st))
	}
	return out, nil
}

// check fills the defaults in and reads the cursor.
func (o *ListOptions) check() (after *item, err error) {
	switch o.Sort {
	case "":
		o.Sort = ByName
	case ByName, BySize, ByTime, ByKind:
	default:
		return nil, station.Errorf(station.ErrInvalid, "bad_sort", "A list is sorted by name, size, mtime or kind.")
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
	err = dirents(dir, func(name string, kind byte) bool {
		if name[0] == '.' && !o.Hidden {
			return true
		}
		if len(items) == folderMax {
			cut = true
		}
		if cut || len(items)&1023 == 0 && ctx.Err() != nil {
			return false
		}
		it := item{name: name, folder: kind == unix.DT_DIR}
		if o.Sort == ByName {
			it.fold = strings.ToLower(name)
		}
		if o.Sort == ByKind {
			it.number = rank(kind)
		}
		if o.Sort == BySize || o.Sort == ByTime || kind == unix.DT_UNKNOWN && (o.FoldersFirst || o.Sort == ByKind) {
			st, err := lstat(dir, name)
			if err != nil {
				return true // gone meanwhile
			}
			it.measure(st, o.Sort)
		}
		items = append(items, it)
		return true
	})
	return items, cut, errors.Join(err, ctx.Err())
}

// rank is the place of a name's kind among all.
func rank(kind byte) int64 {
	switch kind {
	case unix.DT_DIR:
		return 0
	case unix.DT_REG:
		return 1
	case unix.DT_LNK:
		return 2
	}
	return 3
}

// measure sets what is compared of a name besides itself.
func (it *item) measure(st unix.Stat_t, by Sort) {
	it.folder = st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case by == ByTime:
		it.number = st.Mtim.Nano()
	case by == ByKind:
		it.number = rank(byte(st.Mode & unix.S_IFMT >> 12)) // as the kernel makes a name's kind of it
	case by == BySize && st.Mode&unix.S_IFMT == unix.S_IFREG:
		it.number = st.Size
	}
}
