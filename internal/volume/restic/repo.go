package restic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
	"staithe/internal/volume/jail"
)

// Top is what a snapshot's content is under.
const Top = "/home"

// Bucket is a place in an S3-compatible store. The zero value is none.
type Bucket struct {
	Endpoint  string // "": Amazon's; host, host:port, or with http:// or https://
	Name      string
	Prefix    string // within the bucket; without slashes around it
	AccessKey string
	SecretKey string
	Region    string // "" and "auto": found out
	PathStyle bool   // the bucket is in the path, not in the host's name
}

// String is the bucket in words, without credentials.
func (b Bucket) String() string {
	if b.Endpoint == "" {
		b.Endpoint = "Amazon S3"
	}
	host := strings.TrimPrefix(strings.TrimPrefix(b.Endpoint, "https://"), "http://")
	return "bucket " + strings.Trim(b.Name+"/"+b.Prefix, "/") + " at " + strings.TrimSuffix(host, "/")
}

func (b Bucket) location(path string) string {
	endpoint := strings.TrimSuffix(b.Endpoint, "/")
	if endpoint == "" {
		endpoint = "s3.amazonaws.com"
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	return "s3:" + endpoint + "/" + filepath.Join(b.Name, b.Prefix, path)
}

// Options say what and where a repository is. All but Bucket and Env are
// required.
type Options struct {
	Program  string // restic, see Find
	Launcher string // staithe-backup
	Key      string // the password
	// Path is the repository: with a Bucket below its prefix, else a folder of the
	// host, which has to exist.
	Path   string
	Bucket Bucket
	Cache  string // a folder of the host, of this repository alone; it has to exist
	// Fresh is another such folder, for what is to be read from the store: whatever
	// is new is not in it. "": a cache is not used for that.
	Fresh string
	Lock  string // a file of the host, outside of Path, which is made; held while restic works
	Hint  string // a file of the host that is made: which key file opens cheaply (see Quicken); "": that is forgotten
	Place string // what people are told of where it is; "": said by Bucket or Path
	Host  string // this server's name, different from all that share the bucket
}

// Repo is a repository. Its methods can be called at the same time; each starts
// a restic, which costs about half a second, or a tenth once Quicken was called.
type Repo struct {
	o     Options
	binds []jail.Bind
	hint  atomic.Pointer[string] // the key file to try first
}

// Open makes no contact: that is done by each operation.
func Open(o Options) (*Repo, error) {
	for name, v := range map[string]string{"Program": o.Program, "Launcher": o.Launcher, "Key": o.Key, "Path": o.Path, "Cache": o.Cache, "Lock": o.Lock, "Host": o.Host} {
		if v == "" {
			return nil, fmt.Errorf("restic: %s is missing", name)
		}
	}
	libs, err := jail.ProgramFiles(o.Program)
	if err != nil {
		return nil, err
	}
	r := &Repo{o: o, binds: []jail.Bind{{From: o.Program, To: insideProgram, Exec: true, Follow: true}, {From: o.Cache, To: insideCache, Write: true}}}
	if o.Hint != "" {
		r.hint.Store(recall(o.Hint))
	}
	for _, lib := range libs {
		r.binds = append(r.binds, jail.Bind{From: lib, To: lib, Exec: true, Follow: true})
	}
	if o.Bucket.Name == "" {
		r.binds = append(r.binds, jail.Bind{From: o.Path, To: insideRepo, Write: true})
		return r, nil
	}
	for _, f := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		if _, err := os.Stat(f); err == nil {
			r.binds = append(r.binds, jail.Bind{From: f, To: f, Follow: true})
		}
	}
	for _, f := range []string{os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"} {
		if _, err := os.Stat(f); err == nil && filepath.IsAbs(f) {
			r.binds = append(r.binds, jail.Bind{From: f, To: insideCerts, Follow: true})
			break
		}
	}
	return r, nil
}

// The places inside of the jail.
const (
	insideProgram = "/bin/restic"
	insideRepo    = "/repository"
	insideCache   = "/cache"
	insideCerts   = "/etc/ssl/certs/ca-certificates.crt"
)

func (r *Repo) env(location string) []string {
	env := []string{
		"RESTIC_REPOSITORY=" + location, "RESTIC_PASSWORD=" + r.o.Key, "RESTIC_CACHE_DIR=" + insideCache,
		"TMPDIR=" + insideCache, "HOME=/nowhere", "LC_ALL=C.UTF-8", "TZ=UTC", "GODEBUG=netdns=go",
		"RESTIC_PROGRESS_FPS=2", "GOGC=50", "GOMEMLIMIT=768MiB",
	}
	if hint := r.hint.Load(); hint != nil {
		env = append(env, "RESTIC_KEY_HINT="+*hint)
	}
	if b := r.o.Bucket; b.Name != "" {
		env = append(env, "AWS_ACCESS_KEY_ID="+b.AccessKey, "AWS_SECRET_ACCESS_KEY="+b.SecretKey)
		if b.Region != "" && b.Region != "auto" {
			env = append(env, "AWS_DEFAULT_REGION="+b.Region)
		}
	}
	return env
}

func (r *Repo) location() string {
	if r.o.Bucket.Name != "" {
		return r.o.Bucket.location(r.o.Path)
	}
	return insideRepo
}

// Find looks for the program in PATH and says whether it can be used.
func Find(ctx context.Context) (path, version string, err error) {
	path, err = exec.LookPath("restic")
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", "", station.Errorf(station.ErrUnavailable, "no_restic",
			"The program restic, which makes the backups, is not installed; install it (apt-get install restic) and start the server again.").Because(err)
	}
	out, err := exec.CommandContext(ctx, path, "version").Output()
	m := versionLine.FindSubmatch(out)
	if err != nil || m == nil {
		return "", "", station.Errorf(station.ErrUnavailable, "no_restic",
			"%s does not work as restic; install it again (apt-get install restic) and start the server again.", path).Because(err)
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	version = strings.TrimPrefix(string(m[0]), "restic ")
	if major == 0 && minor < 14 {
		return "", "", station.Errorf(station.ErrUnavailable, "old_restic", "restic %s is too old; install 0.14 or newer and start the server again.", version)
	}
	return path, version, nil
}

var versionLine = regexp.MustCompile(`^restic (\d+)\.(\d+)(\.\d+)?`)

// hold is the lock's open file, which who works on the repository shares and
// who tidies up after the dead has alone. It is not waited for.
func (r *Repo) hold(alone bool) (*os.File, error) {
	f, err := os.OpenFile(r.o.Lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the backups' lock: %w", err)
	}
	how := unix.LOCK_SH
	if alone {
		how = unix.LOCK_EX
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, station.Errorf(station.ErrConflict, CodeBusy, "The repository is in use by this server; try again in a moment.").Because(err)
		}
		return nil, fmt.Errorf("the backups' lock: %w", err)
	}
	return f, nil
}
