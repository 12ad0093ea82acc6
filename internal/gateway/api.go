package gateway

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"staithe/internal/auth"
)

// prefix stands before every path of the REST API.
const prefix = "/api/v1"

// api registers operations: they are served and described in OpenAPI 3.1 by
// the same types.
type api struct {
	g    *Gateway
	huma huma.API
}

func (g *Gateway) newAPI(mux *http.ServeMux) api {
	frameworkErrors()
	jsonOnly := map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	version := g.version
	if version == "" {
		version = "dev"
	}
	doc := &huma.OpenAPI{OpenAPI: "3.1.0", Info: &huma.Info{Title: "staithe", Version: version,
		Description: "Errors are RFC 9457 problem documents with a stable code and a sentence that says what to do."}}
	doc.Components = &huma.Components{
		Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
		SecuritySchemes: map[string]*huma.SecurityScheme{
			"login": {Type: "apiKey", In: "cookie", Name: loginCookie, Description: "A signed-in browser; __Host-staithe on https"},
			"token": {Type: "http", Scheme: "bearer", Description: "An API token"},
		},
	}
	return api{g, humago.New(mux, huma.Config{OpenAPI: doc, Formats: jsonOnly, DefaultFormat: "application/json"})}
}

// caller is who an operation runs for. Its Principal is empty when anyone may.
type caller struct {
	auth.Principal
	*request
}

type callerKey struct{}

type action[I, O any] func(context.Context, caller, *I) (*O, error)

func get[I, O any](a api, path, id, summary string, may access, do action[I, O], also ...int) {
	register(a, http.MethodGet, path, id, summary, may, http.StatusOK, do, also)
}

func post[I, O any](a api, path, id, summary string, may access, status int, do action[I, O], also ...int) {
	register(a, http.MethodPost, path, id, summary, may, status, do, also)
}

func patch[I, O any](a api, path, id, summary string, may access, do action[I, O], also ...int) {
	register(a, http.MethodPatch, path, id, summary, may, http.StatusOK, do, also)
}

func del[I, O any](a api, path, id, summary string, may access, do action[I, O], also ...int) {
	register(a, http.MethodDelete, path, id, summary, may, http.StatusNoContent, do, also)
}

// register adds one operation. Who may is decided before the body is read. also
// is what it refuses with besides what all its kind do.
func register[I, O any](a api, method, path, id, summary string, may access, status int, do action[I, O], also []int) {
	op := huma.Operation{Method: method, Path: prefix + path, OperationID: id, Summary: summary,
		DefaultStatus: status, Errors: refusals(method, path, may, also),
		MaxBodyBytes: maxBody, Middlewares: huma.Middlewares{a.g.admit(may)}}
	if !may.public {
		op.Security = signedIn
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		who, _ := ctx.Value(callerKey{}).(caller)
		out, err := do(ctx, who, in)
		if err != nil {
			return nil, a.g.toProblem(ctx, err)
		}
		return out, nil
	})
}

// refusals lists the statuses that an operation may refuse with. huma adds 422
// and 500.
func refusals(method, path string, may access, also []int) []int {
	all := append([]int{http.StatusMisdirectedRequest, http.StatusServiceUnavailable}, also...)
	if !may.public {
		all = append(all, http.StatusUnauthorized, http.StatusForbidden)
	}
	if method != http.MethodGet {
		all = append(all, http.StatusBadRequest, http.StatusForbidden, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusInsufficientStorage)
	}
	if strings.Contains(path, "{") {
		all = append(all, http.StatusNotFound)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// describe puts a route that is no operation of the REST API into the document:
// a WebSocket, or what machines ask. statuses are all it answers with.
func (a api) describe(path, id, summary string, may access, statuses ...int) {
	op := &huma.Operation{Method: http.MethodGet, Path: path, OperationID: id, Summary: summary, Responses: map[string]*huma.Response{}}
	if !may.public {
		op.Security = signedIn
	}
	for _, status := range statuses {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status)}
	}
	a.huma.OpenAPI().AddOperation(op)
}

// signedIn is the ways to be somebody.
var signedIn = []map[string][]string{{"login": {}}, {"token": {}}}

func (g *Gateway) admit(may access) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		ctx.SetHeader("Cache-Control", "no-store")
		p, err := g.authorize(ctx.Context(), may)
		if err != nil {
			r, w := humago.Unwrap(ctx)
			g.refuse(w, r, err)
			return
		}
		next(huma.WithValue(ctx, callerKey{}, caller{p, requestOf(ctx.Context())}))
	}
}

// nothing is the input or output of an operation that has none.
type nothing struct{}

// output wraps a body.
type output[T any] struct{ Body T }

func answer[T any](v T, err error) (*output[T], error) {
	if err != nil {
		return nil, err
	}
	return &output[T]{v}, nil
}

// SessionRef is the path of everything about a session.
type SessionRef struct {
	Session string `path:"session" maxLength:"64" doc:"The session's id or your own name for it"`
}
