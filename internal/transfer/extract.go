package transfer

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"staithe/internal/files"
)

// Extract has a tar stream unpacked into a folder, all of it or nothing: at most
// so many bytes and names.
func (c *Client) Extract(ctx context.Context, p files.Path, tar io.Reader, replace bool, bytes, names int64) (out files.Extracted, err error) {
	q := url.Values{"path": {p.String()}, "format": {"tar"}, "replace": {strconv.FormatBool(replace)},
		"bytes": {strconv.FormatInt(bytes, 10)}, "files": {strconv.FormatInt(names, 10)}}
	res, err := c.send(ctx, http.MethodPost, filesRoute+"/extract", q, http.Header{"Content-Type": {"application/octet-stream"}}, tar, -1)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	return out, decode(&out)(res.Body)
}
