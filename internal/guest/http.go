package guest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/station"
)

// maxBody bounds a request's JSON.
const maxBody = 64 << 10

// handler answers a request whose identity was verified.
type handler func(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error

func (g *Guest) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+guestapi.PathHealth, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, g.health())
	})
	mux.HandleFunc("GET "+guestapi.PathMux, g.identified(g.serveMux))
	mux.HandleFunc("GET "+guestapi.PathTabs, g.identified(g.listTabs))
	mux.HandleFunc("POST "+guestapi.PathTabs, g.identified(g.createTab))
	mux.HandleFunc("PATCH "+guestapi.PathTabs+"/{tab}", g.identified(g.patchTab))
	mux.HandleFunc("DELETE "+guestapi.PathTabs+"/{tab}", g.identified(g.deleteTab))
	mux.HandleFunc("GET "+guestapi.PathTabs+"/{tab}/screen", g.identified(g.tabScreen))
	mux.HandleFunc("GET "+guestapi.PathActivity, g.identified(g.activity))
	mux.HandleFunc("GET "+guestapi.PathPark, g.identified(g.snapshot))
	mux.HandleFunc("POST "+guestapi.PathPark, g.identified(g.park))
	mux.HandleFunc("POST "+guestapi.PathRestore, g.identified(g.restore))
	mux.HandleFunc("POST "+guestapi.PathShutdown, g.identified(g.shutdown))
	mux.HandleFunc("POST "+guestapi.PathNotice, g.identified(g.notice))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, station.Errorf(station.ErrNotFound, "no_such_route", "The guest has no such route; staithe and its guest may be of different versions: restart the session."))
	})
	return mux
}

// identified lets only the gateway's signed identity through. Nothing else in
// a request says who it is from.
func (g *Guest) identified(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), guestapi.Scheme+" ")
		if !ok {
			fail(w, station.Errorf(station.ErrUnauthenticated, "no_identity", "The guest answers only to its gateway."))
			return
		}
		id, err := g.verifier.Verify(token, time.Now())
		if err == nil {
			err = h(w, r, id)
		}
		if err != nil {
			fail(w, err)
		}
	}
}

func (g *Guest) listTabs(w http.ResponseWriter, _ *http.Request, id guestapi.Identity) error {
	answer(w, http.StatusOK, stationTabs(g.visible(id)))
	return nil
}

func (g *Guest) createTab(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	var c guestapi.TabCreate
	if err := decode(w, r, &c); err != nil {
		return err
	}
	t, err := g.open(r.Context(), id, c)
	if err != nil {
		return err
	}
	answer(w, http.StatusCreated, t.describe())
	return nil
}

func (g *Guest) patchTab(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	var p guestapi.TabPatch
	if err := decode(w, r, &p); err != nil {
		return err
	}
	t, err := g.find(id, r.PathValue("tab"))
	if err != nil {
		return err
	}
	if err := g.rename(id, t, p.Name); err != nil {
		return err
	}
	answer(w, http.StatusOK, t.describe())
	return nil
}

func (g *Guest) deleteTab(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	t, err := g.find(id, r.PathValue("tab"))
	if err != nil {
		return err
	}
	if err := g.close(id, t); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxScreen bounds the lines of an answer, in bytes: the gateway reads no more than
// 1 MiB, and each byte may take six as JSON.
const maxScreen = 160 << 10

func (g *Guest) tabScreen(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	t, err := g.find(id, r.PathValue("tab"))
	if err != nil {
		return err
	}
	back, err := strconv.Atoi(r.URL.Query().Get("lines"))
	if err != nil || back < 0 {
		return station.Errorf(station.ErrInvalid, "bad_lines", "lines is how many of the scrollback are wanted, from 0.")
	}
	s := t.terminal().Screen(back, r.URL.Query().Get("painted") == "true")
	s.Title = inert(s.Title)
	size := 0
	for i := len(s.Lines) - 1; i >= 0; i-- {
		if size += len(s.Lines[i]) + 1; size > maxScreen { // the oldest are left out
			s.Lines = s.Lines[i+1:]
			break
		}
	}
	answer(w, http.StatusOK, s)
	return nil
}

func decode(w http.ResponseWriter, r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	err := dec.Decode(into)
	if err == nil {
		_, err = dec.Token()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return station.Errorf(station.ErrInvalid, "bad_body", "The request's body is not the JSON object that this route takes.").Because(err)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // the client may be gone; nobody to tell
}

func fail(w http.ResponseWriter, err error) {
	f := guestapi.Failure{Code: "internal", Sentence: "The guest failed; restart the session."}
	var p *station.Problem
	if errors.As(err, &p) {
		f = guestapi.Failure{Code: p.Code, Sentence: p.Sentence}
	}
	answer(w, guestapi.Status(err), f)
}
