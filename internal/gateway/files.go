package gateway

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

const (
	filesPath   = "/workstation/files"
	contentPath = filesPath + "/content"
)

// noHelper is the error where no files are served at all.
func noHelper() error {
	return station.Errorf(station.ErrUnavailable, "no_files", "This server serves no files.")
}

// helper is a client of a user's files helper.
func (g *Gateway) helper(ctx context.Context, user station.ID) (*filesapi.Client, error) {
	if g.files == nil {
		return nil, noHelper()
	}
	return g.files.Helper(ctx, user)
}

// fileRoutes are the operations on files. Most are the helper's own: the gateway
// says who may, and hands its answer on as it is.
func (g *Gateway) fileRoutes(a api) {
	relayed[files.Listing](a, http.MethodGet, filesPath, "list-files", "A page of a folder", http.StatusOK,
		func(_ *stream, in *listFilesInput) (filesapi.Request, error) {
			return filesapi.Request{Path: filesapi.PathList, Query: in.query()}, nil
		})
	relayed[files.Entry](a, http.MethodGet, filesPath+"/stat", "stat-file", "What a name is", http.StatusOK,
		func(_ *stream, in *FileRef) (filesapi.Request, error) {
			return filesapi.Request{Path: filesapi.PathStat, Query: url.Values{"path": {in.Path}}}, nil
		})
	relayed[struct{}](a, http.MethodDelete, filesPath, "delete-file", "Delete for good, a folder with all in it", http.StatusNoContent,
		func(_ *stream, in *FileRef) (filesapi.Request, error) {
			return filesapi.Request{Path: filesapi.PathFiles, Query: url.Values{"path": {in.Path}}}, nil
		})
	posted[files.Entry, newFolder](a, filesPath+"/folders", "create-folder", "Make a folder", http.StatusCreated, filesapi.PathFolders, 1)
	posted[files.Moved, moveFile](a, filesPath+"/move", "move-file", "Give another name or place; what is replaced goes to the trash", http.StatusOK, filesapi.PathMove, 0)
	relayed[files.Copied](a, http.MethodPost, filesPath+"/copy", "copy-file", "Copy a file or a folder with all in it to a name that is free", http.StatusCreated, g.copyFile)
	posted[files.Entry, newLink](a, filesPath+"/links", "create-link", "Make a symlink", http.StatusCreated, filesapi.PathLinks, 1)
	posted[files.Entry, fileMode](a, filesPath+"/mode", "set-file-mode", "Change permission bits", http.StatusOK, filesapi.PathMode, 0)
	posted[files.Trashed, fileName](a, filesPath+"/trash", "trash-file", "Put into the trash", http.StatusOK, filesapi.PathTrash, 0)
	relayed[[]files.Trashed](a, http.MethodGet, filesPath+"/trash", "list-trash", "What is in the trash, newest first", http.StatusOK,
		func(*stream, *nothing) (filesapi.Request, error) {
			return filesapi.Request{Path: filesapi.PathTrash}, nil
		})
	relayed[struct{}](a, http.MethodDelete, filesPath+"/trash", "purge-file", "Delete for good what is in the trash", http.StatusNoContent,
		func(_ *stream, in *trashRef) (filesapi.Request, error) {
			return filesapi.Request{Path: filesapi.PathTrash, Query: url.Values{"id": {in.ID}}}, nil
		})
	posted[files.Entry, restoreFile](a, filesPath+"/restore", "restore-file", "Have something back from the trash", http.StatusOK, filesapi.PathRestore, 0)
	get(a, filesPath+"/git", "git-status", "What git says of the repository that a folder is in", homeFiles, g.gitStatus,
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusGatewayTimeout)
	g.streamRoutes(a)
	g.watchRoutes(a)
	g.uploadRoutes(a)
}

// FileRef names a file.
type FileRef struct {
	Path string `query:"path" maxLength:"12000" doc:"From the home's top, in percent form; left out: the home itself"`
}

type listFilesInput struct {
	FileRef
	Sort         string `query:"sort" enum:"name,size,mtime,kind" doc:"Left out: name"`
	Descending   bool   `query:"descending"`
	Hidden       bool   `query:"hidden" doc:"Names that begin with a dot, too"`
	FoldersFirst bool   `query:"folders_first"`
	Limit        int    `query:"limit" minimum:"0" maximum:"10000" doc:"Entries of a page; left out: 1000"`
	Cursor       string `query:"cursor" maxLength:"4096" doc:"Of the page before, with the same options"`
}

func (in *listFilesInput) query() url.Values {
	q := url.Values{"path": {in.Path}, "sort": {in.Sort}, "cursor": {in.Cursor}, "limit": {strconv.Itoa(in.Limit)}}
	for name, set := range map[string]bool{"descending": in.Descending, "hidden": in.Hidden, "folders_first": in.FoldersFirst} {
		if set {
			q.Set(name, "true")
		}
	}
	return q
}

type trashRef struct {
	ID string `query:"id" required:"true" maxLength:"1000"`
}

// The requests' bodies. Paths are text here: the helper reads them, and says what
// is wrong with one.
type (
	newFolder struct {
		Path    string `json:"path" doc:"From the home's top, in percent form"`
		Mode    uint32 `json:"mode,omitempty" maximum:"4095" doc:"Permission bits; left out: 0755"`
		Parents bool   `json:"parents,omitempty" doc:"Make the folders on the way, too, and be content when it is there"`
	}
	moveFile struct {
		From    string `json:"from"`
		To      string `json:"to"`
		Replace bool   `json:"replace,omitempty" doc:"What is there goes to the trash"`
	}
	copyFile struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	newLink struct {
		Path   string `json:"path"`
		Target string `json:"target" contentEncoding:"base64" doc:"What it says, which may be any bytes"`
	}
	fileMode struct {
		Path string `json:"path"`
		Mode uint32 `json:"mode" maximum:"4095" doc:"Permission bits"`
	}
	fileName struct {
		Path string `json:"path"`
	}
	restoreFile struct {
		ID string `json:"id"`
		To string `json:"to,omitempty" doc:"Left out: where it was"`
	}
	searchFiles struct {
		Path    string   `json:"path" doc:"The folder to look in"`
		Text    string   `json:"text"`
		Content bool     `json:"content,omitempty" doc:"In files, and not for names"`
		Regexp  bool     `json:"regexp,omitempty"`
		Case    bool     `json:"case,omitempty" doc:"Upper and lower case differ"`
		Hidden  bool     `json:"hidden,omitempty"`
		Without []string `json:"without,omitempty" doc:"Names of folders that are not looked into"`
		Limit   int      `json:"limit,omitempty" minimum:"0" doc:"Matches at most"`
		Millis  int      `json:"millis,omitempty" minimum:"0" doc:"Time at most"`
	}
)

// makes is how many folders there may be more than what was asked for.
func (q newFolder) makes() int64 {
	if !q.Parents {
		return 0
	}
	return foldersTo(q.Path)
}

func (q restoreFile) makes() int64 { return foldersTo(q.To) }

// foldersTo is how many folders are on the way to a path, in percent form or not.
func foldersTo(path string) int64 {
	return int64(strings.Count(path, "/") + strings.Count(strings.ToUpper(path), "%2F"))
}

// body is an input that is JSON.
type body[T any] struct{ Body T }

// posted is an operation whose body is the helper's request. makes is how many
// files there are more afterwards, without folders on the way.
func posted[O, Q any](a api, path, id, summary string, status int, at string, makes int64) {
	relayed[O](a, http.MethodPost, path, id, summary, status, func(s *stream, in *body[Q]) (filesapi.Request, error) {
		q, n := filesapi.Request{Path: at}, makes
		if more, ok := any(in.Body).(interface{ makes() int64 }); ok {
			n += more.makes()
		}
		if n > 0 {
			if err := s.reserve(n*block, n); err != nil {
				return q, err
			}
		}
		return q, q.JSON(in.Body)
	})
}

// copyFile measures what is to be copied, sets room aside for it, and has no more
// than that copied.
func (g *Gateway) copyFile(s *stream, in *body[copyFile]) (q filesapi.Request, err error) {
	helper, err := s.helper()
	if err != nil {
		return q, err
	}
	size, err := filesapi.Call[files.Size](s.r.Context(), helper, http.MethodGet, filesapi.PathSize, url.Values{"path": {in.Body.From}}, nil)
	if err != nil {
		return q, err
	}
	room := size.Bytes + block // also of what is empty, as 0 is no bound
	if err := s.reserve(room, size.Files); err != nil {
		return q, err
	}
	q.Path = filesapi.PathCopy
	return q, q.JSON(struct {
		copyFile
		Room int64 `json:"room"`
	}{in.Body, room})
}

// relayed is an operation that the helper does: ask makes the helper's request,
// and O is what it answers, which is handed on as it came. So the answers of
// large folders are not taken apart.
func relayed[O, I any](a api, method, path, id, summary string, status int, ask func(*stream, *I) (filesapi.Request, error)) {
	content := map[string]*huma.MediaType(nil)
	if status != http.StatusNoContent {
		content = a.media("application/json", reflect.TypeFor[O](), id+"-answer")
	}
	streamed(a, method, path, id, summary, func(s *stream, in *I) error {
		q, err := ask(s, in)
		if err != nil {
			return err
		}
		q.Method = method
		res, err := s.do(q)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if s.room != nil {
			s.room.Wrote(s.room.Left(), math.MaxInt64)
		}
		if status != http.StatusNoContent {
			s.w.Header().Set("Content-Type", "application/json")
			pass(s.w.Header(), res.Header, "Content-Length")
		}
		s.send(status, res.Body)
		return nil
	}, answers{status: content})
}

// media is an answer's type for the document.
func (a api) media(name string, t reflect.Type, hint string) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{name: {Schema: a.huma.OpenAPI().Components.Schemas.Schema(t, true, hint)}}
}
