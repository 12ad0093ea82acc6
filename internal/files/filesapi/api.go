// Package filesapi is what the gateway and a user's files helper say to each
// other: paths and types (doc/decisions/0024). It is HTTP/1.1 on a socket that
// only the gateway can reach, so that requests carry no identity.
//
// Paths of files have percent form (files.Path) in queries and bodies.
package filesapi

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"staithe/internal/files"
)

// The helper's routes.
const (
	PathHealth  = "/v1/health"  // GET: Health
	PathStat    = "/v1/stat"    // GET ?path: files.Entry
	PathSize    = "/v1/size"    // GET ?path: files.Size
	PathList    = "/v1/list"    // GET ?path&sort&descending&hidden&folders_first&limit&cursor: files.Listing
	PathContent = "/v1/content" // GET ?path: the bytes, with ranges and ETag; PUT ?path&mode&mtime, If-Match or If-None-Match: *: files.Entry
	PathFolders = "/v1/folders" // POST Folder: files.Entry
	PathMove    = "/v1/move"    // POST Move: files.Moved
	PathCopy    = "/v1/copy"    // POST Copy: files.Copied
	PathLinks   = "/v1/links"   // POST Link: files.Entry
	PathMode    = "/v1/mode"    // POST Mode: files.Entry
	PathFiles   = "/v1/files"   // DELETE ?path: 204, for good
	PathTrash   = "/v1/trash"   // GET: []files.Trashed; POST Named: files.Trashed; DELETE ?id: 204, for good
	PathRestore = "/v1/restore" // POST Restore: files.Entry
	PathExtract = "/v1/extract" // POST ?path&format&replace&strip&bytes&files, the archive: files.Extracted
	PathArchive = "/v1/archive" // GET ?path&format: the bytes; TrailerPacked after them
	PathCompare = "/v1/compare" // POST ?path, lines of files.Was: lines of JSON, each a Compared
	PathPlacing = "/v1/placing" // POST Placing: files.Placed
	PathSearch  = "/v1/search"  // POST Search: lines of JSON, each a Found
	PathUploads = "/v1/uploads" // tus 1.0; below it each upload; Location has no host
	PathHash    = "/v1/hash"    // POST Hash: lines of JSON, each a Hashed
)

// TrailerPacked holds files.Packed as JSON after an archive. An archive that
// failed has none: its connection is cut.
const TrailerPacked = "Staithe-Packed"

// HeaderEntry holds the files.Entry that an upload has become, as JSON in ASCII.
const HeaderEntry = "Staithe-Entry"

// HeaderFailure holds a refusal's code where there is no body: in the answer to
// HEAD.
const HeaderFailure = "Staithe-Failure"

// ASCII is JSON with nothing else in it than ASCII, as a header wants it.
func ASCII(json string) string {
	var b strings.Builder
	for _, r := range json {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, "\\u%04x", u)
		}
	}
	return b.String()
}

// Hash asks for the content of files by hash, of links by target, and of all else
// what it is.
type Hash struct {
	Paths []files.Path `json:"paths"` // at most HashMax
}

// HashMax is how many paths one Hash can have.
const HashMax = 1000

// Hashed is one line of the answer to Hash, in the order of its paths.
type Hashed struct {
	Entry   files.Entry `json:"entry,omitzero"`
	SHA256  string      `json:"sha256,omitempty"` // of a file, hexadecimal
	Failure *Failure    `json:"failure,omitempty"`
}

// Health says that the helper lives, and how it is jailed.
type Health struct {
	Version string   `json:"version"`
	Jail    []string `json:"jail"` // what holds it besides os.Root
}

// Folder makes a folder; Mode 0 is 0755.
type Folder struct {
	Path    files.Path `json:"path"`
	Mode    uint32     `json:"mode,omitempty"`
	Parents bool       `json:"parents,omitempty"`
}

// Move gives a file another name; what is there goes to the trash when Replace.
type Move struct {
	From    files.Path `json:"from"`
	To      files.Path `json:"to"`
	Replace bool       `json:"replace,omitempty"`
}

// Copy copies a file or a tree; Room is in bytes of disk, 0 is no bound.
type Copy struct {
	From files.Path `json:"from"`
	To   files.Path `json:"to"`
	Room int64      `json:"room,omitempty"`
}

// Link makes a symlink. Target is bytes, in JSON base64: it need not be a path.
type Link struct {
	Target []byte     `json:"target"`
	Path   files.Path `json:"path"`
}

// Mode changes permission bits.
type Mode struct {
	Path files.Path `json:"path"`
	Mode uint32     `json:"mode"`
}

// Named is a request about one path.
type Named struct {
	Path files.Path `json:"path"`
}

// Restore has something back from the trash; an empty To is where it was.
type Restore struct {
	ID files.Path `json:"id"`
	To files.Path `json:"to,omitempty"`
}

// Search looks for names, or in contents; see files.Query.
type Search struct {
	Path    files.Path `json:"path"`
	Content bool       `json:"content,omitempty"`
	Text    string     `json:"text"`
	Regexp  bool       `json:"regexp,omitempty"`
	Case    bool       `json:"case,omitempty"`
	Hidden  bool       `json:"hidden,omitempty"`
	Without []string   `json:"without,omitempty"`
	Limit   int        `json:"limit,omitempty"`
	Millis  int        `json:"millis,omitempty"`
}

// Query is the library's form of it.
func (s Search) Query() files.Query {
	return files.Query{Text: s.Text, Regexp: s.Regexp, Case: s.Case, Hidden: s.Hidden, Without: s.Without,
		Limit: s.Limit, Time: time.Duration(s.Millis) * time.Millisecond}
}

// Found is one line of a search's answer: a match, or the last line.
type Found struct {
	Match   *files.Match    `json:"match,omitempty"`
	Done    *files.Searched `json:"done,omitempty"`
	Failure *Failure        `json:"failure,omitempty"`
}

// Compared is one line of a comparison's answer: a difference, or the last line.
type Compared struct {
	Diff    *files.Diff     `json:"diff,omitempty"`
	Done    *files.Compared `json:"done,omitempty"`
	Failure *Failure        `json:"failure,omitempty"`
}

// Placing is about what was fetched from a snapshot.
type Placing struct {
	ID string `json:"id"`
	// Do is prepare (Into of the answer is where the server puts what it fetched),
	// look, place, undo or forget.
	Do string `json:"do"`
}

// Failure is the body of every answer that is not 2xx.
type Failure struct {
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
}
