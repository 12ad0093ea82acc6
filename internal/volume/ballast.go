package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	ballastDir   = "ballast"
	ballastFiles = 128
	mostBallast  = 64 << 20
)

// ballast is room and inodes held back on the disk, to be given away when it is
// full: so the database can note what happened, and a woken session has room
// to be started in and to clean up.
type ballast struct {
	root *os.Root
	size int64
	laid bool
}

func newBallast(root *os.Root, size int64) *ballast {
	_, err := root.Lstat(ballastDir)
	return &ballast{root: root, size: min(size, mostBallast), laid: err == nil} // an earlier server's
}

// lay takes the room. It does nothing when it has it, or where the file system
// cannot promise room.
func (b *ballast) lay() error {
	if b.laid || b.size <= 0 {
		return nil
	}
	b.laid = true // also when it fails: not at each look
	if err := b.root.Mkdir(ballastDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the ballast: %w", err)
	}
	room, err := b.root.OpenFile(filepath.Join(ballastDir, "room"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("make the ballast: %w", err)
	}
	defer room.Close()
	err = unix.Fallocate(int(room.Fd()), 0, 0, b.size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	for i := 0; err == nil && i < ballastFiles; i++ {
		var f *os.File
		if f, err = b.root.OpenFile(filepath.Join(ballastDir, fmt.Sprint(i)), os.O_WRONLY|os.O_CREATE, 0o600); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make the ballast: %w", err), b.root.RemoveAll(ballastDir))
	}
	return nil
}

// drop gives the room away. It needs none to do so.
func (b *ballast) drop() error {
	if !b.laid {
		return nil
	}
	b.laid = false
	if err := b.root.RemoveAll(ballastDir); err != nil {
		return fmt.Errorf("give the ballast away: %w", err)
	}
	return nil
}
