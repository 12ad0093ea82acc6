package wayout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"staithe/internal/egress"
)

// maxConfig bounds the configuration, in bytes.
const maxConfig = 1 << 20

// descriptors are what the process works on; those that did not come are -1.
type descriptors struct{ status, netns, owner, until int }

// receive waits for the configuration and for the descriptors that come with its
// first byte, see egress.Config.
func receive(control *os.File) (cfg egress.Config, fds descriptors, err error) {
	first := make([]byte, 1)
	n, got, err := receiveRights(int(control.Fd()), first)
	if err != nil {
		return cfg, fds, fmt.Errorf("read the configuration: %w", err)
	}
	rest := io.MultiReader(bytes.NewReader(first[:n]), io.LimitReader(control, maxConfig))
	if err := json.NewDecoder(rest).Decode(&cfg); err != nil {
		return cfg, fds, fmt.Errorf("read the configuration: %w", err)
	}
	fds = descriptors{-1, -1, -1, -1}
	want := []*int{&fds.status, &fds.netns}
	if cfg.Owner {
		want = append(want, &fds.owner)
	}
	if cfg.Until {
		want = append(want, &fds.until)
	}
	if len(got) != len(want) {
		return cfg, fds, fmt.Errorf("%d descriptors came with the configuration, not %d", len(got), len(want))
	}
	for i, fd := range got {
		*want[i] = fd
	}
	return cfg, fds, nil
}

// maxRights is how many descriptors come with one message.
const maxRights = 4

// receiveRights reads once from a unix socket, with the descriptors that come
// along. The end of the stream is io.ErrUnexpectedEOF.
func receiveRights(fd int, buf []byte) (n int, fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*maxRights))
	var oobn int
	for {
		if n, oobn, _, _, err = unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return 0, nil, err
	}
	if n == 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return 0, nil, err
	}
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return 0, nil, err
		}
		fds = append(fds, more...)
	}
	return n, fds, nil
}
