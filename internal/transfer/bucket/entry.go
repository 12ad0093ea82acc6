package bucket

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"staithe/internal/files"
)

// Object is one of the bucket's.
type Object struct {
	Key  string
	Size int64
	At   time.Time // when it was last written
}

// planned is what an object becomes.
type planned struct {
	Object
	path files.Path
	dir  bool // a marker of a folder
}

// Refused is what does not come, and why.
type Refused struct {
	Key string
	Why string
}

// plan sorts out what objects become. link says whether an empty object is a
// symlink; it is asked for those that have others below them.
func plan(prefix string, objects []Object, link func(key string) (bool, error)) (list []planned, refused []Refused, err error) {
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	parents := map[files.Path]bool{}
	names := map[files.Path]int{} // in list
	for _, o := range objects {
		rest := strings.TrimPrefix(o.Key, prefix)
		name, dir := strings.CutSuffix(rest, "/")
		if rest == "" || name == "" && dir {
			continue // the prefix itself
		}
		p, err := files.Path(name).Clean()
		switch {
		case err != nil || p.Home():
			refused = append(refused, Refused{o.Key, "its key is no path in a home"})
			continue
		case dir && o.Size > 0:
			refused = append(refused, Refused{o.Key, "it is a folder that has content"})
			continue
		}
		if i, twice := names[p]; twice { // a and a/
			if dir {
				o, list[i].Object = list[i].Object, o
			}
			if o.Size > 0 {
				refused = append(refused, Refused{o.Key, "it is a file and a folder"})
			}
			list[i].dir = true
			continue
		}
		names[p] = len(list)
		list = append(list, planned{o, p, dir})
		for up := above(p); up != "."; up = above(up) {
			if parents[up] {
				break
			}
			parents[up] = true
		}
	}
	closed := map[files.Path]bool{} // names that are no folders, with something below
	for i, e := range list {
		if e.dir || !parents[e.path] {
			continue
		}
		is := e.Size > 0
		if !is {
			if is, err = link(e.Key); err != nil {
				return nil, nil, err
			}
		}
		closed[e.path] = is
		list[i].dir = !is
	}
	list = slices.DeleteFunc(list, func(e planned) bool {
		for up := above(e.path); up != "."; up = above(up) {
			if closed[up] {
				refused = append(refused, Refused{e.Key, "it lies below a file or a link"})
				return true
			}
		}
		return false
	})
	return list, refused, nil
}

func above(p files.Path) files.Path {
	i := strings.LastIndexByte(string(p), '/')
	if i < 0 {
		return "."
	}
	return p[:i]
}

const (
	typeMask = 0o170000
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
)

// meta is what user metadata says of an object. Keys are in lower case.
type meta struct {
	mode   uint32 // permission bits; 0: not said
	kind   uint32 // its type bits; 0: not said
	at     time.Time
	target string // of a symlink
}

func readMeta(m map[string]string) (out meta) {
	for k, v := range m {
		switch strings.ToLower(k) {
		case "mode":
			n := readMode(v)
			out.mode, out.kind = n&0o777, n&typeMask
		case "mtime":
			out.at = readTime(v)
		case "--symlink-target", "symlink-target":
			out.target = v
			if plain, err := url.PathUnescape(v); err == nil {
				out.target = plain
			}
		}
	}
	return out
}

// readMode reads a mode, which some write in decimal and some in octal.
func readMode(s string) uint32 {
	valid := func(n uint64) bool {
		t := n & typeMask
		return n <= typeMask|0o7777 && (t == typeFile || t == typeDir || t == typeLink || t == 0o020000 || t == 0o060000 || t == 0o010000 || t == 0o140000)
	}
	if n, err := strconv.ParseUint(s, 0, 32); err == nil && valid(n) {
		return uint32(n)
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || !valid(n) && n > 0o7777 {
		return 0
	}
	return uint32(n)
}

// readTime reads seconds, with or without a fraction, or RFC 3339.
func readTime(s string) time.Time {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t
	}
	whole, part, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec <= 0 || sec > 1<<34 {
		return time.Time{}
	}
	nsec, err := strconv.ParseInt((part + "000000000")[:9], 10, 64)
	if err != nil || nsec < 0 {
		nsec = 0
	}
	return time.Unix(sec, nsec)
}
