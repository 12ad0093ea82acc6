// Package template fetches what new homes begin with: a folder of the host, an
// archive, or a git repository. It gives a stream that a files helper unpacks;
// nothing of it is executed here, and what it holds is judged by the helper.
package template

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"staithe/internal/files"
	"staithe/internal/station"
)

const (
	fetchLimit = 10 * time.Minute
	nobody     = 65534
)

// protocol is the one that repositories are fetched by; tests have another.
var protocol = "https"

// Stream is a template on its way. Close it.
type Stream struct {
	io.ReadCloser
	Format files.Format
	broken string // what is said when it breaks off
}

// Read implements io.Reader. Its errors but io.EOF are for who waits for the template.
func (s *Stream) Read(b []byte) (int, error) {
	n, err := s.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = trouble(s.broken, err)
	}
	return n, err
}

// formats are known by the ends of names.
var formats = []struct {
	end    string
	format files.Format
}{{".tar.gz", files.TarGz}, {".tgz", files.TarGz}, {".tar.zst", files.TarZst}, {".tar", files.Tar}, {".zip", files.Zip}}

func formatOf(name string) (files.Format, bool) {
	for _, f := range formats {
		if strings.HasSuffix(name, f.end) {
			return f.format, true
		}
	}
	return "", false
}

// Check says whether a source can be one. The error wraps station.ErrInvalid.
func Check(source string) error {
	_, archive := formatOf(source)
	switch {
	case source == "", filepath.IsAbs(source), strings.HasPrefix(source, "git+https://"), strings.HasPrefix(source, "https://") && archive:
		return nil
	}
	return station.Errorf(station.ErrInvalid, "bad_template",
		"A template is the absolute path of a folder or archive, https://… of a .tar, .tar.gz, .tar.zst or .zip, or git+https://… of a repository.")
}

// Shown is a source as its home's owner may know it: without credentials, and of a
// path its last name alone, as where the server keeps its things is its own.
func Shown(source string) string {
	if filepath.IsAbs(source) {
		return filepath.Base(source)
	}
	u, err := url.Parse(source)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
	return u.String()
}

// trouble is an error that who waits for the template may read; the cause is for
// the server's log.
func trouble(sentence string, cause error) error {
	return station.Errorf(station.ErrUnavailable, "no_template", "%s", sentence).Because(cause)
}

// A home begins only once: to have the template mended brings nothing more into it.
const (
	toDo        = "; tell the administrator, and put in yourself what you miss."
	notThere    = "The template is not where the server looks for it" + toDo
	notReadable = "The server cannot read the template" + toDo
	noAnswer    = "Where the template is kept does not answer as it should" + toDo
	noFetch     = "git cannot fetch the template's repository" + toDo
	noUnpack    = "git cannot read the template's repository" + toDo
)

// Open begins to fetch a source.
func Open(ctx context.Context, source string) (*Stream, error) {
	if err := Check(source); err != nil {
		return nil, err
	}
	if repo, ok := strings.CutPrefix(source, "git+"); ok {
		return git(ctx, repo)
	}
	format, archive := formatOf(source)
	if strings.HasPrefix(source, "https://") {
		return fetch(ctx, source, format)
	}
	info, err := os.Stat(source)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, trouble(notThere, err)
	}
	if err != nil {
		return nil, trouble(notReadable, err)
	}
	if info.IsDir() {
		return folder(ctx, source), nil
	}
	if !archive {
		return nil, station.Errorf(station.ErrInvalid, "bad_template", "The template is neither a folder nor a .tar, .tar.gz, .tar.zst or .zip"+toDo)
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, trouble(notReadable, err)
	}
	return &Stream{f, format, notReadable}, nil
}

func fetch(ctx context.Context, address string, format files.Format) (*Stream, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, trouble(noAnswer, withoutAddress(err))
	}
	c := &http.Client{Timeout: fetchLimit, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Scheme != "https" || len(via) > 5 {
			return errors.New("it is redirected to an address that is not https, or too often")
		}
		return nil
	}}
	res, err := c.Do(req)
	if err != nil {
		return nil, trouble(noAnswer, withoutAddress(err))
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, trouble(noAnswer, fmt.Errorf("it answers %d", res.StatusCode))
	}
	return &Stream{res.Body, format, noAnswer}, nil
}

// withoutAddress keeps credentials of an address out of the log.
func withoutAddress(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// folder packs a folder of the host, whose files are the administrator's.
func folder(ctx context.Context, top string) *Stream {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err = errors.Join(err, ctx.Err()); err != nil || path == top {
				return err
			}
			return pack(t, top, path, d)
		})
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
	}()
	return &Stream{r, files.Tar, notReadable}
}

func pack(t *tar.Writer, top, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	link := ""
	switch info.Mode().Type() {
	case 0, fs.ModeDir:
	case fs.ModeSymlink:
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	default:
		return nil // nothing that a home begins with
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	if h.Name, err = filepath.Rel(top, path); err != nil {
		return err
	}
	h.Uname, h.Gname, h.Format = "", "", tar.FormatPAX
	if err := t.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(t, f, h.Size)
	return err
}

// git gives the files of a repository's newest commit. They are fetched without a
// working tree, by an account without rights where the server is root: no hook,
// filter or submodule of the repository is looked at.
func git(ctx context.Context, repo string) (*Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	dir, err := os.MkdirTemp("", "staithe-template-")
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(dir, nobody, nobody)
	}
	s := &gitStream{cancel: cancel, dir: dir}
	if err == nil {
		clone := command(ctx, dir, "clone", "--quiet", "--bare", "--depth=1", "--single-branch", "--no-tags", "--", repo, filepath.Join(dir, "r"))
		if out, cerr := clone.CombinedOutput(); cerr != nil {
			err = trouble(noFetch, fmt.Errorf("%w: %.300q", cerr, withoutUser(string(out), repo)))
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.cmd = command(ctx, dir, "--git-dir="+filepath.Join(dir, "r"), "archive", "--format=tar", "HEAD")
	if s.ReadCloser, err = s.cmd.StdoutPipe(); err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.cmd = nil
		return nil, errors.Join(trouble(noUnpack, err), s.Close())
	}
	return &Stream{s, files.Tar, noUnpack}, nil
}

// withoutUser is what git says without an address's credentials, as they are
// written there and as they are meant.
func withoutUser(text, address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return text
	}
	_, written, _ := strings.Cut(address, "://")
	written, _, _ = strings.Cut(written, "@")
	user, password, _ := strings.Cut(written, ":")
	meant, _ := u.User.Password()
	for _, secret := range []string{written, password, meant, user, u.User.Username()} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}

func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "protocol." + protocol + ".allow=always"}, args...)...)
	c.Dir = dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return c
}

// gitStream removes what was fetched when it is closed.
type gitStream struct {
	io.ReadCloser
	cmd    *exec.Cmd
	cancel func()
	dir    string
}

func (s *gitStream) Close() error {
	s.cancel()
	if s.cmd != nil {
		_ = s.cmd.Wait() // an archive that is cut off is refused by who reads it
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}
