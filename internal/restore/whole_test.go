package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// lost is what is left of a server: its repositories.
type lost struct {
	folder string
	homes  map[station.ID]map[string]string
	ids    map[string]station.ID
	source Source
}

func (l lost) repo(name string) string { return filepath.Join(l.folder, string(l.ids[name])) }

// lose makes a server with two users, backs it up, and forgets all but the
// repositories.
func lose(t *testing.T) lost {
	t.Helper()
	l := lost{folder: t.TempDir(), homes: map[station.ID]map[string]string{}, ids: map[string]station.ID{}}
	m := Manifest{Version: "test", Images: []Imported{{Name: "debian", Source: "docker.io/library/debian"}}}
	backup := func(name, dir, of string, o restic.Options) {
		o.Path = filepath.Join(l.folder, name)
		if err := os.Mkdir(o.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		r, err := restic.Open(o)
		if err == nil {
			err = r.Init(t.Context())
		}
		if err == nil {
			_, err = r.Backup(t.Context(), restic.BackupRequest{Source: dir, Of: of, Tags: []string{"auto"}}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var o restic.Options
	for i, name := range []string{"ada", "bob"} {
		b := newBench(t)
		b.furnish("work")
		if name == "ada" {
			b.furnish("other/deeper")
		}
		o = b.options
		backup(string(b.ws.ID), b.home, name, o)
		l.ids[name] = b.ws.ID
		l.homes[b.ws.ID] = sketch(t, b.home)
		m.Workstations = append(m.Workstations, Of{ID: b.ws.ID, User: name, UIDRange: i + 1})
	}
	m.Workstations = append(m.Workstations, Of{ID: station.NewID(), User: "never", UIDRange: 9})
	own := t.TempDir()
	for name, c := range map[string]string{DatabaseName: "database", IdentityName: "identity"} {
		if err := os.WriteFile(filepath.Join(own, name), []byte(c), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteManifest(own, m); err != nil {
		t.Fatal(err)
	}
	backup(serverRepo, own, serverRepo, o)
	l.source = Source{Program: o.Program, Launcher: o.Launcher, Key: o.Key, Folder: l.folder}
	return l
}

// talk collects what is said.
type talk struct{ lines []string }

func (l lost) into(data string, said *talk) *Whole {
	return &Whole{Data: data, From: l.source, Tell: func(string, int64, int64) {},
		Say: func(format string, args ...any) { said.lines = append(said.lines, fmt.Sprintf(format, args...)) }}
}

func (l lost) check(t *testing.T, data string) {
	t.Helper()
	for id, home := range l.homes {
		top := filepath.Join(data, homesDir, string(id))
		same(t, sketch(t, top), home, true)
		if info, err := os.Stat(top); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the home itself: %v, %v", info, err)
		} else if st := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && st.Uid != station.SandboxUID {
			t.Errorf("the home belongs to %d", st.Uid)
		}
	}
	for name, want := range map[string]string{DatabaseName: "database", IdentityName: "identity", "backup.key": l.source.Key + "\n"} {
		if got, err := os.ReadFile(filepath.Join(data, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	entries, err := os.ReadDir(data)
	if err != nil || len(entries) != 4 {
		t.Errorf("the data directory has %v, %v", entries, err)
	}
	if err := CheckWhole(data); err != nil {
		t.Error(err)
	}
}

func TestTotalLoss(t *testing.T) {
	t.Parallel()
	l := lose(t)
	data := t.TempDir()
	var said talk
	if err := l.into(data, &said).Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check(t, data)
	all := strings.Join(said.lines, "\n")
	for _, want := range []string{"never has no home", "image debian", "Home of ada (1 of 3)", "The home of bob is as it was at", "backup-exclude", "Older snapshots are only in " + l.folder} {
		if !strings.Contains(all, want) {
			t.Errorf("it does not say %q:\n%s", want, all)
		}
	}
	// Never again into what is there.
	wantCode(t, l.into(data, &said).Restore(t.Context()), "not_empty")
}

// Cut off after any step, the next run goes on and ends with the same.
func TestTotalLossCutOff(t *testing.T) {
	t.Parallel()
	l := lose(t)
	data := t.TempDir()
	for step := range 8 {
		cut := fmt.Sprint("cut off ", step)
		n := 0
		var said talk
		s := l.into(data, &said)
		s.Say = func(string, ...any) {
			if n++; n > step {
				panic(cut)
			}
		}
		err := func() (err error) {
			defer func() {
				if r := recover(); r == cut {
					err = CheckWhole(data)
				} else if r != nil {
					panic(r)
				}
			}()
			return s.Restore(t.Context())
		}()
		if err == nil {
			break
		}
		wantCode(t, err, "half_restored")
		other := l.into(data, &said)
		other.From.Folder += "x"
		wantCode(t, other.Restore(t.Context()), "other_restore")
	}
	l.check(t, data)
}

func TestTotalLossRefusals(t *testing.T) {
	t.Parallel()
	l := lose(t)
	var said talk
	full := t.TempDir()
	_ = os.WriteFile(filepath.Join(full, "thesis.txt"), nil, 0o600)
	wantCode(t, l.into(full, &said).Restore(t.Context()), "not_empty")
	s := l.into(t.TempDir(), &said)
	s.From.Key = "another"
	wantCode(t, s.Restore(t.Context()), restic.CodeKey)
	// A typing error costs nothing: the directory is as empty as it was.
	if entries, err := os.ReadDir(s.Data); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
	s = l.into(t.TempDir(), &said)
	s.From.Folder = t.TempDir()
	wantCode(t, s.Restore(t.Context()), "no_server_backup")
}

// A home that is damaged is told, keeps nobody else's from coming, and is never
// taken for one of which there is no snapshot.
func TestTotalLossDamagedHome(t *testing.T) {
	t.Parallel()
	l := lose(t)
	ada := l.repo("ada")
	index := filepath.Join(ada, "index")
	data := t.TempDir()
	for _, broken := range []string{index, filepath.Join(ada, "config")} {
		if err := os.Rename(broken, broken+".away"); err != nil {
			t.Fatal(err)
		}
		if broken == index {
			if err := os.Mkdir(broken, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		var said talk
		err := l.into(data, &said).Restore(t.Context())
		wantCode(t, err, "homes_failed")
		if err == nil || !strings.Contains(err.Error(), "brought: ada.") {
			t.Errorf("%v", err)
		}
		all := strings.Join(said.lines, "\n")
		if !strings.Contains(all, "home of ada could not be brought: ") || !strings.Contains(all, "Home of bob") && broken == index {
			t.Errorf("it says:\n%s", all)
		}
		wantCode(t, CheckWhole(data), "half_restored")
		if entries, err := os.ReadDir(filepath.Join(data, homesDir)); err != nil || len(entries) != 1 {
			t.Errorf("homes: %v, %v", entries, err)
		}
		_ = os.Remove(broken) // the empty folder
		if err := os.Rename(broken+".away", broken); err != nil {
			t.Fatal(err)
		}
	}
	var said talk
	other := l.into(data, &said)
	other.Snapshot = "00000000"
	wantCode(t, other.Restore(t.Context()), "other_restore")
	other = l.into(data, &said)
	other.Without = []string{"nobody"}
	wantCode(t, other.Restore(t.Context()), "no_user")
	if err := l.into(data, &said).Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check(t, data)
}

// Who does without a home says so, and hears that it is not there; a home that is
// older than the database is told as that.
func TestTotalLossWithout(t *testing.T) {
	t.Parallel()
	l := lose(t)
	if err := os.Remove(filepath.Join(l.repo("ada"), "config")); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	var said talk
	s := l.into(data, &said)
	s.Without = []string{"ada"}
	if err := s.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(said.lines, "\n"); !strings.Contains(all, "ada has no home: it was left out with --without") {
		t.Errorf("it says:\n%s", all)
	}
	now := time.Now()
	said.lines = nil
	s.tell(Manifest{At: now, Workstations: []Of{{ID: l.ids["bob"], User: "bob"}}}, mark{Homes: map[station.ID]time.Time{l.ids["bob"]: now.Add(-72 * time.Hour)}})
	if all := strings.Join(said.lines, "\n"); !strings.Contains(all, "72h0m0s before the database") {
		t.Errorf("it says:\n%s", all)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(`{"form":1,"workstations":[{"id":"abcdefghijkl","user":"ada","uid_range":1}]}`)
	f.Add(`{"form":1,"workstations":[{"id":"../../../etc","user":"ada","uid_range":1}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseManifest(strings.NewReader(text))
		for _, w := range m.Workstations {
			if err == nil && (strings.ContainsAny(string(w.ID), "./") || strings.ContainsAny(w.User, "\x1b\n")) {
				t.Errorf("%+v is taken", w)
			}
		}
	})
}
