package gateway

import (
	"context"
	"encoding/json"
	"strings"
)

type screenInput struct {
	TabRef
	Format string `query:"format" enum:"text,ansi,json" default:"text" doc:"ansi is text with the sequences of its colours"`
	Lines  int    `query:"lines" minimum:"0" maximum:"10000" doc:"How many of the scrollback come before it, at most; all together about 160 KiB, the newest"`
}

// screenOutput is a program's output, and so may be anything: no browser shows it as
// a page of this origin.
type screenOutput struct {
	ContentType string `header:"Content-Type"`
	Policy      string `header:"Content-Security-Policy"`
	Sniff       string `header:"X-Content-Type-Options"`
	Cache       string `header:"Cache-Control"`
	Body        []byte
}

func (g *Gateway) tabScreen(ctx context.Context, c caller, in *screenInput) (*screenOutput, error) {
	guest, err := g.open(ctx, c, in.Session)
	if err != nil {
		return nil, err
	}
	s, err := guest.Screen(ctx, owner(c.User), in.Tab, in.Lines, in.Format == "ansi")
	if err != nil {
		return nil, fromGuest(err)
	}
	if s.Lines == nil {
		s.Lines = []string{}
	}
	out := &screenOutput{ContentType: "text/plain; charset=utf-8", Policy: "sandbox; default-src 'none'", Sniff: "nosniff", Cache: "no-store"}
	switch in.Format {
	case "json":
		out.ContentType = "application/json"
		out.Body, err = json.Marshal(s)
	case "ansi":
		out.Body = []byte(strings.Join(s.Lines, "\r\n") + "\r\n")
	default:
		out.Body = []byte(strings.Join(s.Lines, "\n") + "\n")
	}
	return out, err
}
