package backup

import (
	"context"
	"io"
	"slices"
	"strings"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// Folder lists a folder of a snapshot, by name. path is from the top, any bytes.
// Links have their targets.
func (e *Engine) Folder(ctx context.Context, ws station.Workstation, snapshot, path string) ([]restic.TreeNode, error) {
	path = strings.Trim(path, "/")
	if path == "." {
		path = ""
	}
	var list []restic.TreeNode
	err := e.With(ctx, ws, "", func(r *restic.Repo) (err error) {
		list, err = folder(ctx, r, snapshot, path)
		return err
	})
	slices.SortFunc(list, func(a, b restic.TreeNode) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// Content writes a file of a snapshot. An error may come after part of it.
func (e *Engine) Content(ctx context.Context, ws station.Workstation, snapshot, path string, w io.Writer) error {
	path = strings.Trim(path, "/")
	return e.With(ctx, ws, "", func(r *restic.Repo) error {
		// restic would make an archive of a folder.
		isFolder := path == "." || path == ""
		err := r.Ls(ctx, restic.LsRequest{Snapshot: snapshot, Folders: []string{path}}, func(n restic.Node) error {
			isFolder = isFolder || n.Path == path && n.Type == "dir" || strings.HasPrefix(n.Path, path+"/")
			return nil
		})
		if err != nil {
			return err
		}
		if isFolder {
			return station.Errorf(station.ErrConflict, "is_a_folder", "That is a folder; ask for it as an archive.")
		}
		return r.Dump(ctx, snapshot, path, "", w)
	})
}

// Archive writes a folder of a snapshot as tar or zip. An error may come after
// part of it.
func (e *Engine) Archive(ctx context.Context, ws station.Workstation, snapshot, path, format string, w io.Writer) error {
	return e.With(ctx, ws, "", func(r *restic.Repo) error { return r.Dump(ctx, snapshot, path, format, w) })
}

// entriesMax is how many names of a folder are told; they are in memory, and in
// one answer.
const entriesMax = 50_000

// folder asks restic for the list, which is quick; where that cannot say all, as
// with names that are not UTF-8 or links, it goes down the trees.
func folder(ctx context.Context, r *restic.Repo, snapshot, path string) ([]restic.TreeNode, error) {
	var list []restic.TreeNode
	itself, whole := "", true
	err := r.Ls(ctx, restic.LsRequest{Snapshot: snapshot, Folders: []string{path}}, func(n restic.Node) error {
		if n.Path == path {
			itself = n.Type
			return nil
		}
		if len(list) == entriesMax {
			return restic.TooLarge()
		}
		if !n.Exact() || n.Type == "symlink" {
			whole = false
		}
		list = append(list, restic.TreeNode{Name: n.Name, Type: n.Type, Mode: n.Mode, UID: n.UID, GID: n.GID, Size: n.Size, MTime: n.MTime})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if itself != "" && itself != "dir" {
		return nil, station.Errorf(station.ErrConflict, "not_a_folder", "That was no folder then.")
	}
	if whole && (itself == "dir" || len(list) > 0) {
		return list, nil
	}
	return byTrees(ctx, r, snapshot, path)
}

// byTrees goes from the snapshot's tree to the folder's, one run of restic each.
func byTrees(ctx context.Context, r *restic.Repo, snapshot, path string) ([]restic.TreeNode, error) {
	all, err := r.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(s restic.Snapshot) bool { return strings.HasPrefix(s.Long, snapshot) })
	if at < 0 {
		return nil, noSuch()
	}
	names := []string{restic.Top[1:]}
	if path != "" {
		names = append(names, strings.Split(path, "/")...)
	}
	nodes, err := r.Tree(ctx, all[at].Tree)
	for _, name := range names {
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(nodes, func(n restic.TreeNode) bool { return n.Name == name && n.Type == "dir" })
		if i < 0 {
			return nil, noSuch()
		}
		nodes, err = r.Tree(ctx, nodes[i].Subtree)
	}
	return nodes, err
}

func noSuch() error {
	return station.Errorf(station.ErrNotFound, restic.CodeNoSnapshot, "The backup has no such folder; list the backups again.")
}
