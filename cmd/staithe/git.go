package main

import (
	"context"
	"path/filepath"
	"sync"

	"staithe/internal/station"
	"staithe/internal/volume/git"
	"staithe/internal/volume/jail"
)

// gitOf is the host's git in a jail, looked for at the first question. Where it
// cannot be had, the error says why, until it can.
type gitOf struct {
	data string

	mu  sync.Mutex
	git *git.Git
}

func (g *gitOf) get() (*git.Git, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.git != nil {
		return g.git, nil
	}
	program, err := git.Find()
	if err != nil {
		return nil, err
	}
	if err := jail.Check(); err != nil {
		return nil, err
	}
	launcher, err := installBackup(g.data)
	if err != nil {
		return nil, err
	}
	g.git, err = git.Open(git.Options{Program: program, Launcher: launcher, Root: filepath.Join(g.data, "git")})
	return g.git, err
}

// Git is gateway.Files'.
func (h *homeFiles) Git(ctx context.Context, user station.ID, folder []byte) (git.Status, error) {
	g, err := h.git.get()
	if err != nil {
		return git.Status{}, err
	}
	at, err := h.fleet.HomePlace(ctx, user)
	if err != nil {
		return git.Status{}, err
	}
	return g.Status(ctx, git.Home{Workstation: at.Workstation, Path: at.Path, Inside: at.Inside}, folder)
}
