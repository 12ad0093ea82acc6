package restic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"staithe/internal/station"
)

func asProblem(err error, p **station.Problem) bool { return errors.As(err, p) }

// Snapshot is one of a repository.
type Snapshot struct {
	ID    string    `json:"short_id"` // 8 hex digits
	Long  string    `json:"id"`
	Tree  string    `json:"tree"`
	At    time.Time `json:"time"`
	Of    string    `json:"hostname"`
	Paths []string  `json:"paths"`
	Tags  []string  `json:"tags"`
}

// Snapshots lists what there is, oldest first.
func (r *Repo) Snapshots(ctx context.Context) ([]Snapshot, error) {
	var b bytes.Buffer
	if err := r.run(ctx, job{args: []string{"snapshots", "--json"}, out: &b}); err != nil {
		return nil, err
	}
	var list []Snapshot
	if err := json.Unmarshal(b.Bytes(), &list); err != nil {
		return nil, fmt.Errorf("read the list of snapshots: %w", err)
	}
	return list, nil
}

// Node is a file, folder or anything else in a snapshot. Name and Path are
// inexact where they have bytes that are not UTF-8: see Exact and Repo.Tree.
type Node struct {
	Name  string    `json:"name"`
	Path  string    `json:"path"` // from the top, without a slash in front; "": the top itself
	Type  string    `json:"type"` // file, dir, symlink, dev, chardev, fifo, socket
	UID   int       `json:"uid"`
	GID   int       `json:"gid"`
	Size  int64     `json:"size"`
	Mode  uint32    `json:"mode"` // Go's fs.FileMode
	MTime time.Time `json:"mtime"`
}

// Exact says whether the path is what it is on disk.
func (n Node) Exact() bool { return !strings.ContainsRune(n.Path, '\uFFFD') }

// LsRequest says what to list.
type LsRequest struct {
	Snapshot string
	Folders  []string // from the top; none: all of the snapshot
	Deep     bool     // with what is in folders below those
	Fresh    bool     // what is new is read from the store: see Options.Fresh
}

// Ls tells each of what is in folders of a snapshot. Of folders that are not
// there nothing is told. When each fails, Ls does so with its error.
func (r *Repo) Ls(ctx context.Context, q LsRequest, each func(Node) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	args := []string{"ls", "--json", q.Snapshot}
	if q.Deep && len(q.Folders) > 0 {
		args = append(args, "--recursive")
	}
	for _, f := range q.Folders {
		args = append(args, inside(f))
	}
	return r.run(ctx, job{args: args, fresh: q.Fresh, strict: true, line: func(line []byte) {
		var n struct {
			Node
			Kind string `json:"struct_type"`
		}
		if ctx.Err() != nil || json.Unmarshal(line, &n) != nil || n.Kind != "node" {
			return
		}
		below, ok := fromTop(n.Path)
		if !ok {
			return
		}
		n.Path = below
		if err := each(n.Node); err != nil {
			cancel(err)
		}
	}})
}

// inside is a path of the snapshot, of one from the top.
func inside(p string) string {
	return path.Join(Top, strings.Trim(p, "/"))
}

func fromTop(p string) (string, bool) {
	rest, ok := strings.CutPrefix(p, Top)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

// Change is a difference between two snapshots. Path is as in Node.
type Change struct {
	Path   string
	Folder bool
	// Kind has restic's letters: + and - came and went, M content, T type, U
	// metadata.
	Kind string
}

// Exact says whether the path is what it is on disk.
func (c Change) Exact() bool { return !strings.ContainsRune(c.Path, '\uFFFD') }

// Diff tells each difference of b to a. metadata adds those of modes, times and
// owners alone; fresh is as in LsRequest. A listing that cannot be read is an
// error, after what could be.
func (r *Repo) Diff(ctx context.Context, a, b string, metadata, fresh bool, each func(Change) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	args := []string{"diff", "--json", a, b}
	if metadata {
		args = append(args, "--metadata")
	}
	return r.run(ctx, job{args: args, fresh: fresh, strict: true, line: func(line []byte) {
		var m struct {
			Type     string `json:"message_type"`
			Path     string `json:"path"`
			Modifier string `json:"modifier"`
		}
		if ctx.Err() != nil || json.Unmarshal(line, &m) != nil || m.Type != "change" {
			return
		}
		if below, ok := fromTop(strings.TrimSuffix(m.Path, "/")); ok {
			if err := each(Change{Path: below, Folder: strings.HasSuffix(m.Path, "/"), Kind: m.Modifier}); err != nil {
				cancel(err)
			}
		}
	}})
}

// Dump writes a file, or a folder as an archive ("tar" or "zip"), to w. A failure
// may come after part of it was written.
func (r *Repo) Dump(ctx context.Context, snapshot, file, archive string, w io.Writer) error {
	args := []string{"dump", snapshot, inside(file)}
	if archive != "" {
		args = append(args, "--archive", archive)
	}
	return r.run(ctx, job{args: args, out: w})
}

// TreeNode is a node as the repository has it, exactly.
type TreeNode struct {
	Name       string // any bytes
	Type       string
	Mode       uint32
	UID        int
	GID        int
	Size       int64
	MTime      time.Time
	LinkTarget string // any bytes
	Subtree    string
}

// treeMax is how much of a tree is read: a folder of some 80,000 names, or one
// very large file's list of parts.
const treeMax = 32 << 20

// TooLarge is the error for a folder that has more names than can be told at once.
func TooLarge() error {
	return station.Errorf(station.ErrConflict, CodeTooLarge,
		"That folder has too many names to be shown out of a snapshot; download it as an archive, or restore it beside what is there.")
}

// bounded keeps what is written, up to treeMax; then full is called.
type bounded struct {
	bytes.Buffer
	full func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > treeMax {
		b.full()
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// Tree lists a tree by its id, such as Snapshot.Tree, in which the one node is
// Top's. Unlike Ls it has exact names and link targets; it is one run of restic
// per folder. One that is too large for memory is CodeTooLarge.
func (r *Repo) Tree(ctx context.Context, id string) ([]TreeNode, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := bounded{full: func() { cancel(TooLarge()) }}
	if err := r.run(ctx, job{args: []string{"cat", "blob", id}, out: &b}); err != nil {
		return nil, err
	}
	return parseTree(b.Bytes())
}

func parseTree(b []byte) ([]TreeNode, error) {
	var tree struct {
		Nodes []struct {
			Name    string    `json:"name"`
			Type    string    `json:"type"`
			Mode    uint32    `json:"mode"`
			UID     int       `json:"uid"`
			GID     int       `json:"gid"`
			Size    int64     `json:"size"`
			MTime   time.Time `json:"mtime"`
			Target  string    `json:"linktarget"`
			Raw     []byte    `json:"linktarget_raw"`
			Subtree string    `json:"subtree"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal(b, &tree); err != nil {
		return nil, fmt.Errorf("read a tree: %w", err)
	}
	list := make([]TreeNode, 0, len(tree.Nodes))
	for _, n := range tree.Nodes {
		name, err := strconv.Unquote(`"` + n.Name + `"`) // as restic does: names are quoted for the bytes that JSON has not
		if err != nil {
			return nil, fmt.Errorf("read a tree: name %q: %w", n.Name, err)
		}
		if n.Raw != nil {
			n.Target = string(n.Raw)
		}
		list = append(list, TreeNode{Name: name, Type: n.Type, Mode: n.Mode, UID: n.UID, GID: n.GID, Size: n.Size, MTime: n.MTime,
			LinkTarget: n.Target, Subtree: n.Subtree})
	}
	return list, nil
}

// Stats are a repository's.
type Stats struct {
	Bytes int64 `json:"total_size"` // packed
	Blobs int64 `json:"total_blob_count"`
}

// Stats reads how large the repository is.
func (r *Repo) Stats(ctx context.Context) (Stats, error) {
	var b bytes.Buffer
	var s Stats
	if err := r.run(ctx, job{args: []string{"stats", "--json", "--mode", "raw-data"}, out: &b}); err != nil {
		return s, err
	}
	if err := json.Unmarshal(b.Bytes(), &s); err != nil {
		return s, fmt.Errorf("read the repository's size: %w", err)
	}
	return s, nil
}
