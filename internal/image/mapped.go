package image

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/idmap"
	"staithe/internal/station"
)

// An account that is not root unpacks in a user namespace: the program runs
// itself again there, as uid 0, with the ids that its sandboxes have
// (internal/idmap), does the one job that it is told, and ends. Whoever imports
// images calls MaybeMapped first in main.

// mappedName is the child's argv[0].
const mappedName = "staithe-image-mapped"

// job is what the child is told, as one line of JSON on its standard input. It
// begins when standard input has it: by then its ids are mapped.
type job struct {
	Do       string // import, pull, remove or versions
	Data     string // the images' folder
	Name     string
	From     string      // the file, folder or reference
	Pull     PullOptions // of pull
	Versions []string    // of versions: NAME/VERSION to remove
	Limits   Limits
}

// answer is a line of what the child says on its standard output.
type answer struct {
	Progress *Progress
	Image    *Image
	Problem  *problem
	Done     bool
}

// problem carries an error over.
type problem struct{ Kind, Code, Sentence, Cause string }

// kinds are the sentinels that can be carried over, by their texts.
var kinds = []error{station.ErrInvalid, station.ErrUnauthenticated, station.ErrForbidden, station.ErrNotFound, station.ErrConflict,
	station.ErrGone, station.ErrLimited, station.ErrUnavailable, station.ErrNoSpace}

// mustMap says whether this process cannot give files to other ids by itself.
func mustMap() bool { return os.Geteuid() != 0 }

// MaybeMapped does the job and exits when this process is the child in the user
// namespace; else it returns at once. Call it first in main.
func MaybeMapped() {
	if os.Args[0] != mappedName {
		return
	}
	out := json.NewEncoder(os.Stdout)
	var j job
	err := json.NewDecoder(os.Stdin).Decode(&j)
	if err == nil {
		err = becomeRoot()
	}
	if err == nil {
		err = j.run(func(a answer) { _ = out.Encode(a) }) // a parent that left reads nothing
	}
	last := answer{Done: true}
	if err != nil {
		last.Problem = carry(err)
	}
	_ = out.Encode(last)
	os.Exit(0)
}

// becomeRoot takes uid 0 of the namespace: the process began as the account
// itself, with the right to do so among its ambient capabilities.
func becomeRoot() error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("leave groups: %w", err)
	}
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return fmt.Errorf("become gid 0: %w", err)
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return fmt.Errorf("become uid 0: %w", err)
	}
	return nil
}

func (j job) run(say func(answer)) error {
	s := &Store{dir: j.Data, limits: j.Limits, own: station.SandboxUID}
	tell := func(p Progress) { say(answer{Progress: &p}) }
	// The parent's end is the child's: see mapped.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it, by ending or by its context
		stop()
	}()
	var img Image
	var err error
	switch j.Do {
	case "import":
		img, err = s.Import(ctx, j.Name, j.From, tell)
	case "pull":
		img, err = s.Pull(ctx, j.Name, j.From, j.Pull, tell)
	case "remove":
		return s.Remove(j.Name)
	case "versions":
		return s.removeVersions(j.Versions)
	default:
		return fmt.Errorf("no job %q", j.Do)
	}
	if err == nil {
		say(answer{Image: &img})
	}
	return err
}

// mapped does a job in the child, then what only the parent can.
func (s *Store) mapped(ctx context.Context, j job, progress func(Progress)) (Image, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	img, err := s.runMapped(ctx, j, progress)
	if err != nil {
		return Image{}, err
	}
	return s.done(j.Name, img.Same)
}

func removeMapped(s *Store, name string) error {
	all, err := s.versions(name)
	if err != nil {
		return err
	}
	for _, v := range all {
		if s.inUse != nil && s.inUse(s.rootfs(name, v)) {
			return inUseError(name)
		}
	}
	_, err = s.runMapped(context.Background(), job{Do: "remove", Name: name}, nil)
	return err
}

func removeVersionsMapped(s *Store, which []string) error {
	_, err := s.runMapped(context.Background(), job{Do: "versions", Versions: which}, nil)
	return err
}

// ambient are the capabilities of the child before it is uid 0.
var ambient = []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETFCAP}

// runMapped starts the child, maps its ids, gives it the job, and reads what it
// says. When ctx ends the child is told by the end of its input, and cleans up.
func (s *Store) runMapped(ctx context.Context, j job, progress func(Progress)) (Image, error) {
	uids, gids, err := idmap.Rootless()
	if err != nil {
		return Image{}, err
	}
	j.Data, j.Limits = s.dir, s.limits
	line, err := json.Marshal(j)
	if err != nil {
		return Image{}, fmt.Errorf("encode the job: %w", err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{mappedName}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, AmbientCaps: ambient, Setsid: true}
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return Image{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Image{}, err
	}
	if err := cmd.Start(); err != nil {
		return Image{}, station.Errorf(station.ErrUnavailable, "no_userns", "This account cannot make user namespaces, which unpacking needs; `staithe doctor` says what to mend.").Because(err)
	}
	stop := context.AfterFunc(ctx, func() { in.Close() })
	defer stop()
	var img Image
	if err = mapIDs(cmd.Process.Pid, uids, gids); err == nil {
		if _, err = in.Write(append(line, '\n')); err == nil {
			img, err = listen(out, progress)
		}
	}
	in.Close()
	if werr := cmd.Wait(); err != nil && (werr != nil || said.Len() > 0) {
		err = fmt.Errorf("%w (%v: %s)", err, werr, strings.TrimSpace(said.String()))
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return img, err
}

// listen reads the child's lines until it is done.
func listen(r io.Reader, progress func(Progress)) (img Image, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 4<<20)
	for in.Scan() {
		var a answer
		if err := json.Unmarshal(in.Bytes(), &a); err != nil {
			return img, fmt.Errorf("what the unpacker says: %w", err)
		}
		switch {
		case a.Progress != nil && progress != nil:
			progress(*a.Progress)
		case a.Image != nil:
			img = *a.Image
		case a.Done && a.Problem != nil:
			return img, a.Problem.unpack()
		case a.Done:
			return img, nil
		}
	}
	return img, fmt.Errorf("the unpacker ended before it was done: %w", errors.Join(in.Err(), io.ErrUnexpectedEOF))
}

// mapIDs has the setuid programs of package uidmap write the child's maps.
func mapIDs(pid int, uids, gids []idmap.Map) error {
	for program, maps := range map[string][]idmap.Map{"newuidmap": uids, "newgidmap": gids} {
		args := []string{strconv.Itoa(pid)}
		for _, m := range maps {
			args = append(args, fmt.Sprint(m.Inside), fmt.Sprint(m.Outside), fmt.Sprint(m.Size))
		}
		out, err := exec.Command(program, args...).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			return station.Errorf(station.ErrUnavailable, "no_uidmap", "Unpacking images without being root needs %s; run as root: apt-get install uidmap (or your system's package of that name).", program)
		}
		if err != nil {
			return station.Errorf(station.ErrUnavailable, "no_uidmap", "%s refused this account's ids: %s.", program, bytes.TrimSpace(out)).Because(err)
		}
	}
	return nil
}

func carry(err error) *problem {
	p := &problem{Sentence: err.Error()}
	for _, k := range kinds {
		if errors.Is(err, k) {
			p.Kind = k.Error()
		}
	}
	var sp *station.Problem
	if errors.As(err, &sp) {
		p.Code, p.Sentence = sp.Code, sp.Sentence
		if sp.Cause != nil {
			p.Cause = sp.Cause.Error()
		}
	}
	return p
}

func (p *problem) unpack() error {
	for _, k := range kinds {
		if p.Kind != k.Error() {
			continue
		}
		sp := station.Errorf(k, p.Code, "%s", p.Sentence)
		if p.Cause != "" {
			sp = sp.Because(errors.New(p.Cause))
		}
		return sp
	}
	return errors.New(p.Sentence)
}

// handOver gives what a store keeps for itself to the account that runs it: in
// the namespace that is not uid 0.
func (s *Store) handOver(paths ...string) error {
	for _, p := range paths {
		if s.own == 0 {
			continue
		}
		if err := os.Lchown(p, s.own, s.own); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
