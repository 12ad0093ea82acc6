package gateway

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

// GitStatus is a repository as git sees it.
type GitStatus struct {
	Repository string     `json:"repository" doc:"Its top folder, in percent form; empty: the folder is in none"`
	Branch     string     `json:"branch" doc:"Empty: the head is no branch"`
	Ahead      int        `json:"ahead" doc:"Commits that the upstream has not"`
	Behind     int        `json:"behind" doc:"Commits of the upstream that are not here"`
	Entries    []GitEntry `json:"entries" nullable:"false" doc:"What is not as in the last commit"`
	Truncated  bool       `json:"truncated" doc:"There are more"`
}

// GitEntry is a file that is not as in the last commit.
type GitEntry struct {
	Path string `json:"path" doc:"From the home's top, in percent form; of a new folder, without what is in it"`
	Code string `json:"code" doc:"git's two letters, as git status --short shows them"`
}

// gitStatus asks git in a jail of its own; that the folder is one is asked of the
// helper, which says what is wrong with it otherwise.
func (g *Gateway) gitStatus(ctx context.Context, c caller, in *FileRef) (*output[GitStatus], error) {
	p, err := files.ParsePath(in.Path)
	if err != nil {
		return nil, err
	}
	helper, err := g.helper(ctx, c.User.ID)
	if err != nil {
		return nil, err
	}
	e, err := filesapi.Call[files.Entry](ctx, helper, http.MethodGet, filesapi.PathStat, url.Values{"path": {in.Path}}, nil)
	if err != nil {
		return nil, err
	}
	if e.Kind != files.KindFolder && e.LeadsTo != files.KindFolder {
		return nil, station.Errorf(station.ErrConflict, "not_a_folder", "%q is not a folder; name the folder that it is in.", p)
	}
	s, err := g.files.Git(ctx, c.User.ID, []byte(p))
	if err != nil {
		return nil, err
	}
	out := GitStatus{Ahead: s.Ahead, Behind: s.Behind, Truncated: s.Truncated, Entries: make([]GitEntry, 0, len(s.Entries))}
	if s.Repository != nil {
		out.Repository = files.Path(s.Repository).String()
	}
	out.Branch = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf) {
			return -1
		}
		return r
	}, s.Branch)
	for _, e := range s.Entries {
		out.Entries = append(out.Entries, GitEntry{files.Path(e.Path).String(), e.Code})
	}
	return answer(out, nil)
}
