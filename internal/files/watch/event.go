package watch

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// event is one of the kernel's. It points into the buffer that it was read to.
type event struct {
	mask   uint64
	at     record // the folder and the name in it; of a rename, the old ones
	to     record // of a rename: the new ones
	target []byte // the key of what it happened to, where the kernel says it
}

// record is a folder by its key (fsid, size, type and bytes of its handle, as the
// kernel writes them) and a name in it; "." is the folder itself.
type record struct{ key, name []byte }

func (r record) clone() record { return record{bytes.Clone(r.key), bytes.Clone(r.name)} }

const (
	metadataSize = 24
	infoSize     = 4  // type, padding, length
	handleHead   = 16 // fsid, size, type
	maxHandle    = 128
)

var errBadEvents = errors.New("the kernel's events cannot be read")

// readEvents takes a buffer of fanotify events apart.
func readEvents(buf []byte, each func(event)) error {
	for len(buf) > 0 {
		if len(buf) < metadataSize {
			return errBadEvents
		}
		size := int(binary.NativeEndian.Uint32(buf))
		head := int(binary.NativeEndian.Uint16(buf[6:]))
		if buf[4] != unix.FANOTIFY_METADATA_VERSION || head < metadataSize || size < head || size > len(buf) {
			return errBadEvents
		}
		e := event{mask: binary.NativeEndian.Uint64(buf[8:])}
		if err := e.records(buf[head:size]); err != nil {
			return err
		}
		each(e)
		buf = buf[size:]
	}
	return nil
}

func (e *event) records(b []byte) error {
	for len(b) > 0 {
		if len(b) < infoSize {
			return errBadEvents
		}
		size := int(binary.NativeEndian.Uint16(b[2:]))
		if size < infoSize || size > len(b) {
			return errBadEvents
		}
		kind, info := b[0], b[infoSize:size]
		b = b[size:]
		switch kind {
		case unix.FAN_EVENT_INFO_TYPE_FID, unix.FAN_EVENT_INFO_TYPE_DFID, unix.FAN_EVENT_INFO_TYPE_DFID_NAME,
			unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
		default:
			continue // not asked for
		}
		r, err := readRecord(info)
		if err != nil {
			return err
		}
		switch kind {
		case unix.FAN_EVENT_INFO_TYPE_FID:
			e.target = r.key
		case unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
			e.to = r
		default:
			e.at = r
		}
	}
	return nil
}

func readRecord(info []byte) (record, error) {
	if len(info) < handleHead {
		return record{}, errBadEvents
	}
	n := int(binary.NativeEndian.Uint32(info[8:]))
	if n < 0 || n > maxHandle || handleHead+n > len(info) {
		return record{}, errBadEvents
	}
	name, _, _ := bytes.Cut(info[handleHead+n:], []byte{0})
	if bytes.IndexByte(name, '/') >= 0 || string(name) == ".." {
		return record{}, errBadEvents
	}
	if len(name) == 0 {
		name = []byte(".")
	}
	return record{key: info[:handleHead+n], name: name}, nil
}

// keyOf is the key of what is open.
func keyOf(fd int) ([]byte, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return nil, err
	}
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, err
	}
	key := binary.NativeEndian.AppendUint32(nil, uint32(st.Fsid.Val[0]))
	key = binary.NativeEndian.AppendUint32(key, uint32(st.Fsid.Val[1]))
	key = binary.NativeEndian.AppendUint32(key, uint32(h.Size()))
	key = binary.NativeEndian.AppendUint32(key, uint32(h.Type()))
	return append(key, h.Bytes()...), nil
}

// handleOf is the handle in a key.
func handleOf(key []byte) unix.FileHandle {
	return unix.NewFileHandle(int32(binary.NativeEndian.Uint32(key[12:])), key[handleHead:])
}

// diskOf is the file system's part of a key.
func diskOf(key []byte) [8]byte { return [8]byte(key) }
