package restic

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What restic 0.14 said, word for word.
func TestSaid(t *testing.T) {
	const again = "Load(<data/c64a5dfb3b>, 300093, 0) returned error, retrying after 15.39s: "
	for _, c := range []struct{ code, said string }{
		{CodeNoRepository, "Fatal: unable to open config file: stat /repository/config: no such file or directory\nIs there a repository at the following location?\n/repository\n"},
		{CodeNoRepository, "Fatal: unable to open config file: Stat: The specified key does not exist.\nIs there a repository at the following location?\ns3:http://x/y\n"},
		{CodeUnreachable, "Fatal: unable to open config file: Stat: Get \"http://x\": dial tcp: connection refused\n"},
		{CodeDamaged, again + "The specified key does not exist.\nignoring error for /home/a: StreamPack: The specified key does not exist.\nFatal: There were 4 errors\n"},
		{CodeDamaged, again + "open /repository/data/c6/c64a: no such file or directory\nignoring error for /home/a: StreamPack: open /repository/data/c6/c64a: no such file or directory\nFatal: There were 4 errors\n"},
		{CodeDamaged, "pack c64a: does not exist\npack c64a failed to download: StreamPack: The specified key does not exist.\nFatal: repository contains errors\n"},
		{CodeDamaged, again + "connection refused\npack c64a: does not exist\nFatal: repository contains errors\n"},
		{CodeUnreachable, "pack c64a failed to download: StreamPack: dial tcp: connection refused\nFatal: repository contains errors\n"},
		{CodeUnreachable, again + "connection refused\nFatal: There were 4 errors\n"},
		{CodeDamaged, "ignoring error for /: id b891a901 not found in repository\nFatal: There were 2 errors\n"},
		{CodeTooLarge, "ignoring error for /home/a: write /restore/home/a: file too large\nFatal: There were 1 errors\n"},
		{CodeFailed, "ignoring error for /home/a: UtimesNano: no such file or directory\nFatal: There were 1 errors\n"},
	} {
		if err := problem("a place", c.said, nil); CodeOf(err) != c.code {
			t.Errorf("%s, wanted %s: %q", CodeOf(err), c.code, c.said)
		}
	}
	r := &Repo{}
	if got := r.Trouble("The specified key does not exist."); strings.Contains(got, "damaged") || strings.Contains(got, "no repository") {
		t.Errorf("what is tried again: %s", got)
	}
}

// A full disk here is not a full store.
func TestSaidFull(t *testing.T) {
	r := &Repo{o: Options{Bucket: Bucket{Name: "b"}}}
	for _, c := range []struct{ code, into, has, said string }{
		{CodeNoRoom, "the home of ada", "the home of ada", "ignoring error for /home/a: write /restore/home/a: no space left on device\nFatal: There were 1 errors\n"},
		{CodeNoRoom, "the home of ada", "the home of ada", "ignoring error for /home/a: write: disk quota exceeded\nFatal: There were 1 errors\n"},
		{CodeNoRoom, "", "data directory", "Fatal: unable to save snapshot: write /cache/restic-temp-pack-1: no space left on device\n"},
		{CodeFull, "", "bucket b", "Fatal: unable to save snapshot: QuotaExceeded\n"},
		{CodeFull, "the home of ada", "bucket b", "Fatal: unable to create lock in backend: QuotaExceeded\n"},
		{CodeFull, "the home of ada", "bucket b", "Fatal: unable to create lock in backend: write /repository/locks/1: no space left on device\n"},
	} {
		err := r.explain(1, c.said, c.into, nil)
		if CodeOf(err) != c.code || !strings.Contains(err.Error(), c.has) {
			t.Errorf("%v, wanted %s: %q", err, c.code, c.said)
		}
	}
}

// Whatever of a bucket is missing, only a missing config is no repository.
func TestBucketDamaged(t *testing.T) {
	t.Parallel()
	s, o := openS3(t)
	r, err := Open(o)
	try(t, err)
	try(t, r.Init(t.Context()))
	home := t.TempDir()
	try(t, os.WriteFile(filepath.Join(home, "f"), []byte("content"), 0o600))
	sum, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "w"}, nil)
	try(t, err)
	fetch := func() error {
		try(t, os.RemoveAll(o.Cache))
		try(t, os.Mkdir(o.Cache, 0o700))
		_, err := r.Restore(t.Context(), RestoreRequest{Snapshot: sum.ID, Into: t.TempDir()})
		return err
	}
	try(t, fetch())
	drop := func(prefix string) {
		for _, k := range s.Objects("backups", "pre/workstations/w/"+prefix) {
			s.Must("DELETE", "/backups/"+k, nil, nil, 204)
		}
	}
	drop("index/")
	if err := fetch(); CodeOf(err) != CodeDamaged {
		t.Errorf("restore without an index: %v", err)
	}
	if err := r.Check(t.Context(), ""); CodeOf(err) != CodeDamaged {
		t.Errorf("check without an index: %v", err)
	}
	drop("config")
	if _, err := r.Snapshots(t.Context()); CodeOf(err) != CodeNoRepository {
		t.Errorf("without a config: %v", err)
	}
}
