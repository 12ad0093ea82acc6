package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/confine"
	"staithe/internal/sandbox/hostbase"
	"staithe/internal/station"
)

// A session on an image sees the image's files, shared read-only by all of its
// sessions, below a layer of its own that lasts as long as the sandbox:
//
//	sandboxes/SESSION/upper, work
//
// The image is on disk with the ids it has inside; an idmapped mount gives it
// the user's range (overlayfs on such a mount: Linux 5.19). Both mounts are made
// in the namespace where engines start and detached when the engine has them.

// imageRoot is a root file system made of an image.
type imageRoot struct {
	path string
	done func() // call it when the engine has it, or never will
}

// mountImage makes a session's root file system of an image.
func (r *Runtime) mountImage(p *prepared, spec sandbox.Spec, user hostbase.ImageUser) (imageRoot, error) {
	dir := r.dir(spec.Session)
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	owner := station.HostUID(spec.UIDRange, 0)
	for _, path := range []string{upper, work} {
		if err := makeOwned(path, owner); err != nil {
			return imageRoot{}, err
		}
	}
	if err := user.WriteUpper(upper, owner, spec); err != nil {
		return imageRoot{}, fmt.Errorf("files of /etc: %w", err)
	}
	return r.overlayImage(p, spec, upper, work)
}

// overlayImage mounts the image below a layer.
func (r *Runtime) overlayImage(p *prepared, spec sandbox.Spec, upper, work string) (imageRoot, error) {
	space, err := r.homes.space(namespaceKey{spec.UIDRange, true})
	if err != nil {
		return imageRoot{}, err
	}
	lower, root := filepath.Join(p.stage, "lower-"+string(spec.Session)), filepath.Join(p.stage, "root-"+string(spec.Session))
	err = p.thread.do(func() error {
		if err := mountMapped(spec.Base, lower, space, 0); err != nil {
			return &imageError{err}
		}
		if err := mountOverlay(lower, upper, work, root); err != nil {
			return &imageError{errors.Join(err, unmountMapped(lower))}
		}
		return nil
	})
	if err != nil {
		return imageRoot{}, err
	}
	return imageRoot{root, func() {
		err := p.thread.do(func() error { return errors.Join(unmountMapped(root), unmountMapped(lower)) })
		if err != nil {
			r.log.Warn("an image stays mounted for the runtime alone", "session", spec.Session, "err", err)
		}
	}}, nil
}

// mountRoot makes a session's root file system, which is the shared base when it
// has no image.
func (r *Runtime) mountRoot(p *prepared, spec sandbox.Spec) (imageRoot, error) {
	if spec.Base == "" {
		return imageRoot{p.rootfs, func() {}}, nil
	}
	if err := os.WriteFile(filepath.Join(r.dir(spec.Session), imageName), []byte(spec.Base), 0o600); err != nil {
		return imageRoot{}, err
	}
	user, err := hostbase.NewImageUser(spec.Base, spec)
	if err != nil {
		return imageRoot{}, fmt.Errorf("the image's accounts: %w", err)
	}
	return r.mountImage(p, spec, user)
}

// imageError is a host that cannot mount images.
type imageError struct{ error }

func (e *imageError) Unwrap() error { return e.error }

func (e *imageError) problem() error {
	return station.Errorf(station.ErrUnavailable, "no_images",
		"This server cannot show images to sandboxes: it needs Linux 5.19 or newer and its data directory on ext4, xfs or btrfs. Choose a session class with base = \"host\", or run staithe doctor on the server.").Because(e.error)
}

// makeOwned makes a folder that is the sandbox's root's.
func makeOwned(path string, owner int) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o755); err != nil {
		return err
	}
	return os.Lchown(path, owner, owner)
}

// mountOverlay mounts upper over lower on a new folder. It syncs nothing to the
// disk (volatile): the layer does not outlive a crash of the machine.
func mountOverlay(lower, upper, work, target string) error {
	if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("overlayfs: %w", err)
	}
	defer unix.Close(fs)
	// The new interface has no escaping of ":" and "," in paths, nor a bound on
	// their length.
	for _, o := range [][2]string{{"lowerdir", lower}, {"upperdir", upper}, {"workdir", work}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return fmt.Errorf("overlayfs: %s: %w", o[0], err)
		}
	}
	if err := errors.Join(unix.FsconfigSetFlag(fs, "volatile"), unix.FsconfigCreate(fs)); err != nil {
		return fmt.Errorf("overlayfs: %w", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return fmt.Errorf("overlayfs: %w", err)
	}
	defer unix.Close(mnt)
	if err := unix.MoveMount(mnt, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount", Path: target, Err: err}
	}
	return nil
}

// removeTree removes a sandbox's folder. A layer that a person filled may be
// deeper than this process has descriptors; rm is made for that.
func removeTree(ctx context.Context, dir string) error {
	if !exists(filepath.Join(dir, "upper")) {
		return os.RemoveAll(dir)
	}
	cmd := exec.CommandContext(ctx, "rm", "-rf", "--one-file-system", "--", dir)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("remove %s: %w: %.500s", dir, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// BaseInUse says whether a sandbox runs, or half of one is left, on the image at
// that path. While that cannot be told it counts as used: what is removed below
// a sandbox is gone from it. It is safe for concurrent use.
func (r *Runtime) BaseInUse(rootfs string) bool {
	ids, err := r.names()
	if err != nil {
		return true
	}
	for _, id := range ids {
		b, err := os.ReadFile(filepath.Join(r.dir(id), imageName))
		if err == nil && string(b) == rootfs || err != nil && !errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return false
}

// imageName is the file that names a sandbox's image, there before it is used.
const imageName = "image"

// sudoCapabilities are what the root of a class with sudo may have: enough for
// apt, dpkg and sudo, and nothing that reaches the kernel's own matters
// (SYS_ADMIN, SYS_PTRACE, NET_ADMIN, NET_RAW, MKNOD, SYS_MODULE, …).
var sudoCapabilities = []string{"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
	"CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"}

// sudoCaps is the guest's set with room above it: what a setuid program of the
// image can get.
func sudoCaps() *specs.LinuxCapabilities {
	caps := confine.Capabilities()
	caps.Bounding = sudoCapabilities
	return caps
}

// checkBase refuses what cannot be the root of a sandbox here.
func (r *Runtime) checkBase(spec sandbox.Spec) error {
	switch {
	case spec.Base == "" && spec.Sudo:
		return station.Errorf(station.ErrInvalid, "bad_sandbox", "Root inside needs an image: the host's programs are shared.")
	case spec.Base == "":
		return nil
	case !r.root:
		return station.Errorf(station.ErrUnavailable, "no_images",
			"A server that is not root cannot show images to sandboxes; choose a session class with base = \"host\", or run staithe as root.")
	case !filepath.IsAbs(spec.Base) || !isDir(spec.Base):
		return station.Errorf(station.ErrUnavailable, "image_gone", "The session's image is not there; import it again.")
	}
	return nil
}
