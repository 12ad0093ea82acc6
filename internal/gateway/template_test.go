package gateway

import (
	"context"
	"testing"

	"staithe/internal/auth"
	"staithe/internal/station"
)

// ownTemplates answers with whose template was asked for.
type ownTemplates struct{}

func (ownTemplates) Template(_ context.Context, user station.ID) (station.HomeTemplate, error) {
	return station.HomeTemplate{State: "done", Source: string(user), Files: 3}, nil
}

// A home's template is told to whose home it is, and to no token of another scope.
func TestAbuse06_ATemplateNeedsTheScopeOfFiles(t *testing.T) {
	const path = "/api/v1/workstation/template"
	b := newBench(t, func(o *Options, _ *timing) { o.Templates = ownTemplates{} })
	root := b.admin()
	ada, bob := b.member(root, "ada"), b.member(root, "bob")
	narrow, _ := ada.token(auth.ScopeSessions, auth.ScopeTerminal)
	files, _ := ada.token(auth.ScopeFiles)
	b.browser().must(401, "GET", path, nil)
	if r := narrow.must(403, "GET", path, nil); r.code() != "insufficient_scope" {
		t.Errorf("%s", r.body)
	}
	for br, owner := range map[*browser]station.ID{ada: ada.user.ID, files: ada.user.ID, bob: bob.user.ID} {
		var got station.HomeTemplate
		if br.must(200, "GET", path, nil).into(t, &got); got != (station.HomeTemplate{State: "done", Source: string(owner), Files: 3}) {
			t.Errorf("%+v", got)
		}
	}
}

func TestWithoutTemplatesThereIsNone(t *testing.T) {
	var got station.HomeTemplate
	newBench(t).admin().must(200, "GET", "/api/v1/workstation/template", nil).into(t, &got)
	if got != (station.HomeTemplate{State: "none"}) {
		t.Errorf("%+v", got)
	}
}
