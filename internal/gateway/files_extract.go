package gateway

import (
	"cmp"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"staithe/internal/files/filesapi"
)

// What an archive may hold when nothing else is said.
const (
	extractPath  = filesPath + "/extract"
	extractBytes = 1 << 30
	extractFiles = 100_000
)

type extractInput struct {
	FileRef
	Format  string `query:"format" enum:"zip,tar,tar.gz,tar.zst" required:"true"`
	Replace bool   `query:"replace" doc:"What is there and differs goes to the trash; else it stays"`
	Strip   bool   `query:"strip" doc:"Leave out the one folder at the archive's top"`
	Bytes   int64  `query:"bytes" minimum:"0" maximum:"1152921504606846976" doc:"What it may hold, unpacked; left out: 1 GiB. More is refused, and so much must be free, and 4 KiB for each name"`
	Files   int64  `query:"files" minimum:"0" doc:"Names that it may hold; left out: 100000"`
}

// leastName is less than what any archive takes for a name, in bytes: a zip has 46
// in its directory alone, before it was packed a tar has 512. Compressed, a name
// takes next to nothing.
const leastName = 46

// extractRoom is what unpacking takes of the disk at most: the contents, of each
// name a piece of the disk, and a zip itself, which is kept until it is unpacked.
// length is of the body; negative: not known.
func extractRoom(format string, bytes, names, length int64) int64 {
	if length >= 0 && (format == "zip" || format == "tar") {
		names = min(names, length/leastName+1)
	}
	room := bytes + min(names, math.MaxInt64/4/block)*block
	switch {
	case format != "zip":
	case length >= 0:
		room += blocks(length)
	default:
		room += bytes
	}
	return room
}

// extract sets the room aside that the archive may take, before anything of it is
// unpacked: how much it holds, it says itself, and may lie.
func (g *Gateway) extract(s *stream, in *extractInput) error {
	bytes, names := cmp.Or(in.Bytes, extractBytes), cmp.Or(in.Files, extractFiles)
	if err := s.reserve(extractRoom(in.Format, bytes, names, s.r.ContentLength), names); err != nil {
		return err
	}
	q := filesapi.Request{Method: http.MethodPost, Path: filesapi.PathExtract, Length: s.r.ContentLength, Header: http.Header{"Expect": {"100-continue"}},
		Query: url.Values{"path": {in.Path}, "format": {in.Format}, "replace": {strconv.FormatBool(in.Replace)}, "strip": {strconv.FormatBool(in.Strip)},
			"bytes": {strconv.FormatInt(bytes, 10)}, "files": {strconv.FormatInt(names, 10)}}}
	body := s.arriving()
	q.Body = body
	res, err := s.do(q)
	if why := body.stop(err != nil); why != nil && err != nil {
		err = s.cause(why)
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	s.room.Wrote(s.room.Left(), math.MaxInt64) // the next measurement has the truth
	s.w.Header().Set("Content-Type", "application/json")
	pass(s.w.Header(), res.Header, "Content-Length")
	s.send(res.StatusCode, res.Body)
	return nil
}
