package helper

import "os"

// logMost is how large a helper's log gets, in bytes; then it begins anew. What
// its user does can make it write, and it lies outside of the home's limit.
const logMost = 4 << 20

// Log is a log in a file that is appended to. It is not safe for concurrent use;
// slog's handlers write one line at a time.
type Log struct {
	File *os.File
	size int64
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	if l.size+int64(len(p)) > logMost && l.File.Truncate(0) == nil { // a terminal cannot, and need not
		l.size = 0
	}
	l.size += int64(len(p))
	return l.File.Write(p)
}
