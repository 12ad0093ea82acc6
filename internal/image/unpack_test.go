package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnpackRefusesDotDot(t *testing.T) {
	for _, name := range []string{"..", "../outside/new", "a/../../outside/new", "/../outside/new", "a/..", "./../x"} {
		r := newRoom(t)
		_, err := r.unpack(t, Limits{}, tarOfEntries(t, dir("a"), file(name, "x")))
		refused(t, err, "hostile_archive")
	}
}

func TestUnpackKeepsAbsoluteNamesInside(t *testing.T) {
	r := newRoom(t)
	name := filepath.Join(r.dir, "outside/secret") // the real path of the sentinel
	if _, err := r.unpack(t, Limits{}, tarOfEntries(t, file(name, "mine"), file("//etc//x", "y"))); err != nil {
		t.Fatal(err)
	}
	got := r.tree(t)
	if got[strings.TrimPrefix(name, "/")] != "mine" || got["etc/x"] != "y" {
		t.Errorf("%v", got)
	}
}

func TestUnpackKeepsNamesThroughSymlinksInside(t *testing.T) {
	r := newRoom(t)
	abs := filepath.Join(r.dir, "outside")
	layer := tarOfEntries(t, symlink("abs", abs), symlink("rel", "../outside"), symlink("deep", "../../../../../.."), symlink("two", "abs"),
		file("abs/secret", "a"), file("rel/secret", "b"), file("deep/secret", "c"), file("two/more", "d"))
	if _, err := r.unpack(t, Limits{}, layer); err != nil {
		t.Fatal(err)
	}
	got := r.tree(t)
	in := strings.TrimPrefix(abs, "/")
	if got[in+"/secret"] != "a" || got["outside/secret"] != "b" || got["secret"] != "c" || got[in+"/more"] != "d" {
		t.Errorf("%v", got)
	}
}

func TestUnpackKeepsSymlinksOfLowerLayersInside(t *testing.T) {
	r := newRoom(t)
	abs := filepath.Join(r.dir, "outside")
	lower := tarOfEntries(t, symlink("out", abs), symlink("f", abs+"/secret"), dir("d"))
	upper := tarOfEntries(t, file("out/secret", "a"), file("f", "b"), file("out/.wh.secret", ""), file("out/.wh..wh..opq", ""),
		hardlink("h", "out/secret"))
	if _, err := r.unpack(t, Limits{}, lower, upper); err != nil {
		t.Fatal(err)
	}
	if got := r.tree(t); got["f"] != "b" || got["h"] != "a" {
		t.Errorf("%v", got)
	}
}

func TestUnpackRefusesSymlinkCircles(t *testing.T) {
	r := newRoom(t)
	_, err := r.unpack(t, Limits{}, tarOfEntries(t, symlink("a", "b"), symlink("b", "a"), file("a/x", "")))
	refused(t, err, "hostile_archive")
}

func TestUnpackRefusesHardLinksOutside(t *testing.T) {
	for _, to := range []string{"../outside/secret", "/outside/secret", "nothing", "out/secret", "d", ""} {
		r := newRoom(t)
		_, err := r.unpack(t, Limits{}, tarOfEntries(t, dir("d"), symlink("out", filepath.Join(r.dir, "outside")), hardlink("h", to)))
		refused(t, err, "hostile_archive")
	}
	// A link to a link is a link: nothing is reached through it.
	r := newRoom(t)
	secret := filepath.Join(r.dir, "outside/secret")
	if _, err := r.unpack(t, Limits{}, tarOfEntries(t, symlink("s", secret), hardlink("h", "s"), file("h", "mine"))); err != nil {
		t.Fatal(err)
	}
	r.has(t, map[string]string{"s": "> " + secret, "h": "mine"})
}

func TestUnpackWritesNotThroughHardLinks(t *testing.T) {
	r := newRoom(t)
	if _, err := r.unpack(t, Limits{}, tarOfEntries(t, file("a", "lower"), hardlink("b", "a")), tarOfEntries(t, file("b", "upper"))); err != nil {
		t.Fatal(err)
	}
	r.has(t, map[string]string{"a": "lower", "b": "upper"})
}

func TestUnpackRefusesWhiteoutsOfParents(t *testing.T) {
	for _, name := range []string{".wh..", ".wh...", "d/.wh..", "d/.wh...", ".wh.", "../.wh.outside", "d/../../.wh.outside"} {
		r := newRoom(t)
		_, err := r.unpack(t, Limits{}, tarOfEntries(t, file("d/keep", "x")), tarOfEntries(t, file(name, "")))
		refused(t, err, "hostile_archive")
		r.has(t, map[string]string{"d": "/", "d/keep": "x"})
	}
}

func TestUnpackAppliesWhiteouts(t *testing.T) {
	r := newRoom(t)
	lower := tarOfEntries(t, file("a", "1"), file("d/x", "1"), file("d/sub/y", "1"), file("o/low", "1"), file("o/sub/low", "1"), file("keep/z", "1"))
	upper := tarOfEntries(t, file(".wh.a", ""), file("d/.wh.sub", ""), file("o/new", "2"), file("o/sub/new", "2"), file("o/.wh..wh..opq", ""),
		file(".wh..wh.plnk", ""), file("missing/.wh.x", ""), file("both", "2"), file(".wh.both", ""))
	if _, err := r.unpack(t, Limits{}, lower, upper); err != nil {
		t.Fatal(err)
	}
	r.has(t, map[string]string{"d": "/", "d/x": "1", "o": "/", "o/new": "2", "o/sub": "/", "o/sub/new": "2", "keep": "/", "keep/z": "1", "both": "2"})
}

// In the plain tar of a root file system .wh. is a name as any other.
func TestUnpackTakesWhiteoutNamesOfPlainTarsAsTheyAre(t *testing.T) {
	r := newRoom(t)
	u := newUnpacker(r.root, &budget{limits: DefaultLimits})
	if err := u.tar(context.Background(), bytes.NewReader(tarOfEntries(t, file("a", "1"), file(".wh.a", "2"))), false); err != nil {
		t.Fatal(err)
	}
	r.has(t, map[string]string{"a": "1", ".wh.a": "2"})
}

func TestUnpackReplacesWhatLowerLayersHave(t *testing.T) {
	r := newRoom(t)
	lower := tarOfEntries(t, file("f", "1"), dir("d"), file("d/x", "1"), symlink("l", "d"), dir("same"), file("same/x", "1"))
	upper := tarOfEntries(t, dir("f"), file("d", "2"), dir("l"), file("l/y", "2"), dir("same"))
	if _, err := r.unpack(t, Limits{}, lower, upper); err != nil {
		t.Fatal(err)
	}
	r.has(t, map[string]string{"f": "/", "d": "2", "l": "/", "l/y": "2", "same": "/", "same/x": "1"})
}

// A folder that is known may become a link under way.
func TestUnpackForgetsFoldersThatBecomeLinks(t *testing.T) {
	r := newRoom(t)
	layer := tarOfEntries(t, dir("a"), dir("a/b"), file("a/b/1", "x"), symlink("a", filepath.Join(r.dir, "outside")), file("a/b/2", "y"), file("a/secret", "z"))
	if _, err := r.unpack(t, Limits{}, layer); err != nil {
		t.Fatal(err)
	}
}

func TestUnpackRefusesNamesBelowFiles(t *testing.T) {
	r := newRoom(t)
	_, err := r.unpack(t, Limits{}, tarOfEntries(t, file("f", "x"), file("f/below", "y")))
	refused(t, err, "hostile_archive")
}

func TestUnpackLeavesDevicesOut(t *testing.T) {
	r := newRoom(t)
	u, err := r.unpack(t, Limits{}, tarOfEntries(t, entry{name: "sda", kind: tar.TypeBlock}, entry{name: "mem", kind: tar.TypeChar}, entry{name: "pipe", kind: tar.TypeFifo}))
	if err != nil {
		t.Fatal(err)
	}
	r.has(t, map[string]string{})
	if u.leftOut["devices"] != 2 || u.leftOut["fifos"] != 1 {
		t.Errorf("%v", u.leftOut)
	}
}

func TestUnpackKeepsOwnersModesAndSetuid(t *testing.T) {
	r := newRoom(t)
	sudo := entry{name: "sudo", body: "#!", mode: 0o4755, uid: 0, gid: 27}
	mail := entry{name: "mail", kind: tar.TypeDir, mode: 0o2775, uid: 65535, gid: 8}
	tmp := entry{name: "tmp", kind: tar.TypeDir, mode: 0o1777}
	old := syscall.Umask(0o077)
	_, err := r.unpack(t, Limits{}, tarOfEntries(t, sudo, mail, tmp, entry{name: "l", kind: tar.TypeSymlink, link: "/sudo", uid: 5, gid: 6}, file("implied/x", "")))
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		mode     fs.FileMode
		uid, gid uint32
	}{
		"sudo": {0o755 | fs.ModeSetuid, 0, 27}, "mail": {0o775 | fs.ModeSetgid | fs.ModeDir, 65535, 8}, "tmp": {0o777 | fs.ModeSticky | fs.ModeDir, 0, 0},
		"l": {0o777 | fs.ModeSymlink, 5, 6}, "implied": {0o755 | fs.ModeDir, 0, 0},
	} {
		info, err := r.root.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode() != want.mode || st.Uid != want.uid || st.Gid != want.gid {
			t.Errorf("%s: %v %d:%d", name, info.Mode(), st.Uid, st.Gid)
		}
	}
}

func TestUnpackRefusesIDsBeyondASession(t *testing.T) {
	for _, e := range []entry{{name: "a", uid: 65536}, {name: "a", gid: 65536}, {name: "a", uid: 1 << 31}, {name: "d", kind: tar.TypeDir, uid: -1}} {
		r := newRoom(t)
		_, err := r.unpack(t, Limits{}, tarOfEntries(t, e))
		refused(t, err, "image_ids")
	}
}

func TestUnpackKeepsOnlyCapabilitiesOfAttributes(t *testing.T) {
	r := newRoom(t)
	capNetRaw := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	pax := map[string]string{xattrPrefix + "security.capability": capNetRaw, xattrPrefix + "trusted.overlay.redirect": "/etc",
		xattrPrefix + "user.overlay.opaque": "y", xattrPrefix + "system.posix_acl_access": "x"}
	u, err := r.unpack(t, Limits{}, tarOfEntries(t, entry{name: "ping", body: "x", mode: 0o755, pax: pax}))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.dir, "root/ping")
	if u.leftOut["file capabilities"] == 0 {
		got := make([]byte, 64)
		n, err := unix.Lgetxattr(path, "security.capability", got)
		if err != nil || string(got[:n]) != capNetRaw {
			t.Errorf("%x %v", got[:max(n, 0)], err)
		}
	}
	list := make([]byte, 1024)
	n, err := unix.Llistxattr(path, list)
	if err != nil || bytes.Contains(list[:n], []byte("overlay")) || bytes.Contains(list[:n], []byte("acl")) || u.leftOut["extended attributes"] != 3 {
		t.Errorf("%q %v %v", list[:max(n, 0)], err, u.leftOut)
	}
}

func TestUnpackRefusesBombs(t *testing.T) {
	small := Limits{Bytes: 1 << 20, Files: 100}
	many := make([]entry, 101)
	for i := range many {
		many[i] = file("f", "") // the same name: what counts is the work
	}
	deep := strings.Repeat("d/", 120)
	for name, layer := range map[string][]byte{
		"one file":      tarOfEntries(t, file("big", strings.Repeat("x", 1<<20+1))),
		"many files":    tarOfEntries(t, many...),
		"deep folders":  tarOfEntries(t, file(deep+"x", "")),
		"sparse claims": sparse(t),
	} {
		r := newRoom(t)
		_, err := r.unpack(t, small, layer)
		if err == nil {
			t.Fatalf("%s: unpacked", name)
		}
		refused(t, err, "image_too_big")
	}
	// Names are remembered: they cost memory even where they cost no disk. Through a
	// link they grow.
	long := strings.Repeat(strings.Repeat("n", 200)+"/", 10)
	names := []entry{file(long+"x", ""), symlink("s", long)}
	for i := range 30 {
		names = append(names, file("s/"+strconv.Itoa(i), ""))
	}
	for limit, fits := range map[int64]bool{30_000: false, 100_000: true} {
		_, err := newRoom(t).unpack(t, Limits{Names: limit}, tarOfEntries(t, names...))
		if fits && err != nil {
			t.Error(err)
		} else if !fits {
			refused(t, err, "image_too_big")
		}
	}
	r := newRoom(t)
	_, err := r.unpack(t, small, tarOfEntries(t, file("a", strings.Repeat("x", 600<<10))), tarOfEntries(t, file("b", strings.Repeat("x", 600<<10))))
	refused(t, err, "image_too_big") // over layers too
}

// sparse is a file of a terabyte in three blocks (GNU sparse 1.0 in PAX), which
// tar.Writer does not write.
func sparse(t testing.TB) []byte {
	t.Helper()
	var records string
	for _, kv := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=s", "GNU.sparse.realsize=1099511627776"} {
		n := len(kv) + 3
		n += len(strconv.Itoa(n)) - 1
		records += fmt.Sprintf("%d %s\n", n, kv)
	}
	content := make([]byte, 513)
	copy(content, "1\n1099511627775\n1\n")
	content[512] = 'x'
	return slices.Concat(rawEntry("pax", tar.TypeXHeader, []byte(records)), rawEntry("s", tar.TypeReg, content), make([]byte, 1024))
}

// rawEntry is one header and its content, as bytes.
func rawEntry(name string, kind byte, content []byte) []byte {
	h := make([]byte, 512, 1024)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00        ", len(content)))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	h = append(h, content...)
	return append(h, make([]byte, -len(content)&511)...)
}

func TestUnpackRefusesLongNames(t *testing.T) {
	for _, name := range []string{strings.Repeat("x", 256), strings.Repeat("d/", 2100) + "x"} {
		r := newRoom(t)
		_, err := r.unpack(t, Limits{}, tarOfEntries(t, file(name, "")))
		refused(t, err, "hostile_archive")
	}
	// Links lengthen paths beyond what any program could name.
	r := newRoom(t)
	part := strings.Repeat("n", 250)
	layer := []entry{}
	at := ""
	for range 20 {
		layer = append(layer, file("l"+at+"/"+part+"/x", ""), symlink("m", "l"+at+"/"+part))
		at += "/" + part
		if len(at) > 3500 {
			break
		}
	}
	layer = append(layer, file("m/"+part+"/"+part+"/"+part+"/x", ""))
	_, err := r.unpack(t, Limits{}, tarOfEntries(t, layer...))
	if err == nil {
		t.Fatal("a path longer than PATH_MAX was made")
	}
}

func TestUnpackKeepsSomeOfTheDiskFree(t *testing.T) {
	r := newRoom(t)
	d, err := os.Open(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	u := newUnpacker(r.root, &budget{limits: Limits{KeepFree: 1 << 60}.orDefault(), disk: d})
	err = u.tar(context.Background(), bytes.NewReader(tarOfEntries(t, file("big", strings.Repeat("x", diskEvery+1)))), true)
	refused(t, err, "disk_full")
}

func TestUnpackStopsWhenAsked(t *testing.T) {
	r := newRoom(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := newUnpacker(r.root, &budget{limits: DefaultLimits}).tar(ctx, bytes.NewReader(tarOfEntries(t, file("a", ""))), true)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
