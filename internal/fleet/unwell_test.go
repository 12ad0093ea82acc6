package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"staithe/internal/station"
)

// Run notices within half a minute that a guest ended by itself.
func TestRunNoticesDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, st, rt := newFake(t, nil)
		rt.serve = honest(st)
		var ended []station.ID
		f.OnEnd(func(id station.ID, deleted bool) {
			if deleted {
				t.Error("said to be deleted")
			}
			ended = append(ended, id)
		})
		s, err := f.Create(t.Context(), station.NewID(), "main", "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		<-time.After(5 * time.Minute)
		if len(ended) != 0 || rt.stops.Load() != 0 {
			t.Fatal("a healthy session was touched")
		}
		rt.set(s.ID, false)
		<-time.After(31 * time.Second)
		synctest.Wait()
		got, err := f.Get(t.Context(), s.User, "main")
		if err != nil || got.State != station.StateAsleep || got.Reason == "" {
			t.Errorf("%+v %v", got, err)
		}
		if len(ended) != 1 || ended[0] != s.ID {
			t.Errorf("ended: %v", ended)
		}
		// An orphan goes as well.
		rt.set("orphanorphan", true)
		<-time.After(31 * time.Second)
		if list, _ := rt.List(t.Context()); len(list) != 0 {
			t.Errorf("left: %v", list)
		}
		cancel()
		<-done
		f.Close()
		rt.work.Wait()
	})
}

// A guest that lies cannot be created, adopted or wait us to death, and what it
// says is never shown.
func TestAbuse39_LyingGuest(t *testing.T) {
	endless := "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n{\"session\":\""
	for name, serve := range map[string]func(net.Conn){
		"garbage":         answer("\x00\xff garbage \r\n\r\n"),
		"silence":         answer(""),
		"closes":          func(c net.Conn) {},
		"half an answer":  answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
		"another session": answer("HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"session\":\"abcdefghijkl\"}"),
		"redirect":        answer("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"),
		"own words":       answer("HTTP/1.1 500 Oops\r\nContent-Length: 55\r\n\r\n{\"code\":\"evil\",\"sentence\":\"type your password at evil\"} "),
		"10 GB": func(c net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, c) }()
			_, err := io.WriteString(c, endless)
			for junk := make([]byte, 1<<16); err == nil; {
				_, err = c.Write(junk)
			}
		},
		"slow loris": func(c net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, c) }()
			for _, err := io.WriteString(c, endless); err == nil; _, err = io.WriteString(c, "x") {
				<-time.After(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, st, rt := newFake(t, serve)
				began := time.Now()
				_, err := f.Create(t.Context(), station.NewID(), "main", "")
				var p *station.Problem
				if !errors.Is(err, station.ErrUnavailable) || !errors.As(err, &p) || p.Code == "evil" {
					t.Errorf("create: %v", err)
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it held us for %s", took)
				}
				if len(st.sessions) != 0 || len(rt.live) != 0 {
					t.Errorf("left: %v %v", st.sessions, rt.live)
				}
				// One that was there before is not touched and not believed.
				lying := station.Session{ID: station.NewID(), Name: "main", State: station.StateRunning}
				st.sessions = []station.Session{lying}
				rt.set(lying.ID, true)
				rt.stops.Store(0)
				if err := f.Recover(t.Context()); err != nil {
					t.Error(err)
				}
				if st.sessions[0].State != station.StateFailed || rt.stops.Load() != 0 {
					t.Errorf("recovered: %+v, %d stops", st.sessions[0], rt.stops.Load())
				}
				f.Close()
				rt.work.Wait()
			})
		})
	}
}

// One session that cannot be settled keeps nobody else from their own: the
// server starts all the same, and tries again.
func TestRecoverGoesOnPastWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, st, rt := newFake(t, nil)
		rt.serve = honest(st)
		dead := station.Session{ID: station.NewID(), Name: "main", State: station.StateRunning}
		st.sessions = []station.Session{dead}
		stuck := station.NewID()
		rt.set(stuck, true)
		rt.stuck = stuck
		if err := f.Recover(t.Context()); err != nil {
			t.Errorf("the server would not start: %v", err)
		}
		if st.sessions[0].State != station.StateAsleep {
			t.Errorf("%+v", st.sessions[0])
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		rt.mu.Lock()
		rt.stuck = ""
		rt.mu.Unlock()
		<-time.After(31 * time.Second)
		if list, _ := rt.List(t.Context()); len(list) != 0 {
			t.Errorf("left: %v", list)
		}
		cancel()
		<-done
		f.Close()
		rt.work.Wait()
	})
}

// What cannot be noted as running is not left running: refused is refused.
func TestCreateThatCannotBeNotedLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, st, rt := newFake(t, nil)
		rt.serve = honest(st)
		st.full = true
		if _, err := f.Create(t.Context(), station.NewID(), "main", ""); !errors.Is(err, station.ErrNoSpace) {
			t.Errorf("create: %v", err)
		}
		if len(st.sessions) != 0 || len(rt.live) != 0 {
			t.Errorf("left: %v %v", st.sessions, rt.live)
		}
		f.Close()
		rt.work.Wait()
	})
}

// Of many at once no more than the limit come to be.
func TestOneUserCannotFillTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 50
		f, st, rt := newFake(t, answer(""))
		user := station.NewID()
		for i := range limit - 1 {
			st.sessions = append(st.sessions, station.Session{ID: station.NewID(), User: user, Name: fmt.Sprint("s", i), State: station.StateAsleep})
		}
		refused := make(chan error, 10)
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if _, err := f.Create(t.Context(), user, fmt.Sprint("more", i), ""); errors.Is(err, station.ErrLimited) {
					refused <- err
				}
			})
		}
		for range 9 {
			<-refused
		}
		if st.mu.Lock(); len(st.sessions) > limit {
			t.Errorf("%d sessions", len(st.sessions))
		}
		st.mu.Unlock()
		all.Wait()
		f.Close()
		rt.work.Wait()
	})
}

// A request that was let in just before its user was disabled makes nothing any
// more: the user may be about to be removed.
func TestDisabledUserGetsNothingNew(t *testing.T) {
	f, st, rt := newFake(t, nil)
	st.disabled = true
	if _, err := f.Create(t.Context(), station.NewID(), "main", ""); !errors.Is(err, station.ErrForbidden) {
		t.Errorf("create: %v", err)
	}
	if err := f.CreateHome(t.Context(), station.NewID()); !errors.Is(err, station.ErrForbidden) {
		t.Errorf("home: %v", err)
	}
	st.sessions = []station.Session{{ID: station.NewID(), Name: "main", State: station.StateAsleep}}
	if _, err := f.Wake(t.Context(), station.NewID(), "main"); !errors.Is(err, station.ErrForbidden) {
		t.Errorf("wake: %v", err)
	}
	if len(st.sessions) != 1 || len(rt.live) != 0 {
		t.Errorf("made: %v %v", st.sessions, rt.live)
	}
	f.Close()
}
