package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"staithe/internal/files"
	"staithe/internal/files/watch"
	"staithe/internal/station"
)

// maxWatches is how many folders one user may watch at once: each keeps what its
// client has not read yet.
const maxWatches = 16

// keepAlive is between comments in a stream in which nothing happens.
const keepAlive = 20 * time.Second

// FileChanges is one reader's view of what changes; watch.Stream is one.
type FileChanges interface {
	// Next waits for changes.
	Next(ctx context.Context) (watch.Batch, error)
	Close()
}

// watchRoutes tell what changes.
func (g *Gateway) watchRoutes(a api) {
	events := map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString,
		Description: "Events ready, changes and overflow, each with data of JSON"}}}
	streamed(a, http.MethodGet, filesPath+"/watch", "watch-files", "What changes below a folder, as it changes", g.watchFiles,
		answers{http.StatusOK: events})
}

// counts bounds how many of something each user has. Safe for concurrent use.
type counts struct {
	mu sync.Mutex
	of map[station.ID]int
}

// add counts one more, unless there are most.
func (c *counts) add(user station.ID, most int) (remove func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[user] >= most {
		return nil, false
	}
	if c.of == nil {
		c.of = map[station.ID]int{}
	}
	c.of[user]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.of[user]--; c.of[user] == 0 {
			delete(c.of, user)
		}
	}, true
}

func (g *Gateway) watchFiles(s *stream, in *FileRef) error {
	if g.files == nil {
		return noHelper()
	}
	below, err := files.ParsePath(in.Path)
	if err != nil {
		return err
	}
	remove, ok := g.watches.add(s.who.User.ID, maxWatches)
	if !ok {
		return station.Errorf(station.ErrLimited, "too_many_watches",
			"%d folders are being watched, the most there can be; close some pages and try again.", maxWatches)
	}
	defer remove()
	changes, err := g.files.Watch(s.r.Context(), s.who.User.ID, below)
	if err != nil {
		return s.cause(err)
	}
	defer changes.Close()
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy is not to wait for more
	s.w.WriteHeader(http.StatusOK)
	if err := s.events(changes); err != nil {
		g.log.Debug("a watch ended", "request", s.who.id, "err", err)
	}
	return nil
}

// events sends what changes until the client, its right or the server ends.
func (s *stream) events(changes FileChanges) error {
	ctx, cancel := context.WithCancel(s.r.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	batches := make(chan watch.Batch)
	failed := make(chan error, 1)
	wg.Go(func() {
		for {
			b, err := changes.Next(ctx)
			if err != nil {
				failed <- err
				return
			}
			select {
			case batches <- b:
			case <-ctx.Done():
				return
			}
		}
	})
	id := 1
	if err := s.event(id, "ready", struct{}{}); err != nil {
		return err
	}
	quiet := time.NewTicker(keepAlive)
	defer quiet.Stop()
	for {
		var err error
		select {
		case <-s.ended: // the login's end, or the server's
			return nil
		case err = <-failed:
		case b := <-batches:
			id++
			if b.Overflow {
				err = s.event(id, "overflow", struct{}{})
			} else {
				err = s.event(id, "changes", map[string]any{"events": b.Events})
			}
		case <-quiet.C:
			if _, err = s.w.Write([]byte(":\n\n")); err == nil {
				err = s.control.Flush()
			}
		}
		if err != nil {
			return err
		}
	}
}

// event sends one event. JSON has no line breaks, so its data is one line.
func (s *stream) event(id int, name string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	if _, err := fmt.Fprintf(s.w, "id: %d\nevent: %s\ndata: %s\n\n", id, name, b); err != nil {
		return err
	}
	if err := s.control.Flush(); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
