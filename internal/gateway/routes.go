package gateway

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
)

// routes is every way in.
func (g *Gateway) routes(page fs.FS) (http.Handler, error) {
	mux := http.NewServeMux()
	a := g.newAPI(mux)

	post(a, "/setup", "setup", "Make the first admin", anyone, http.StatusCreated, g.setup, http.StatusConflict, http.StatusGone, http.StatusTooManyRequests)
	get(a, "/setup", "setup-needed", "Whether there is no admin yet", anyone, g.setupNeeded)
	post(a, "/login", "login", "Sign in", anyone, http.StatusOK, g.login, http.StatusUnauthorized, http.StatusTooManyRequests)
	post(a, "/logout", "logout", "Sign out", anyone, http.StatusNoContent, g.logout)
	post(a, "/invite", "accept-link", "Set a password with an invite or reset link", anyone, http.StatusOK, g.acceptLink, http.StatusGone, http.StatusTooManyRequests)
	get(a, "/me", "me", "Who is signed in", everyUse, g.me)
	post(a, "/me/password", "change-password", "Change the password", whole, http.StatusNoContent, g.changePassword, http.StatusTooManyRequests)

	post(a, "/tokens", "create-token", "Make an API token", whole, http.StatusCreated, g.createToken, http.StatusConflict)
	get(a, "/tokens", "list-tokens", "List the API tokens", whole, g.listTokens)
	del(a, "/tokens/{id}", "delete-token", "Revoke an API token", whole, g.deleteToken)

	get(a, "/users", "list-users", "List the users", admins, g.listUsers)
	post(a, "/users", "create-user", "Make a user", admins, http.StatusCreated, g.createUser, http.StatusConflict, http.StatusTooManyRequests)
	patch(a, "/users/{user}", "change-user", "Disable or enable a user, give or take admin rights", adminsOf, g.changeUser, http.StatusConflict)
	del(a, "/users/{user}", "delete-user", "Delete a user", adminsOf, g.deleteUser, http.StatusConflict)
	post(a, "/users/{user}/reset-link", "create-reset-link", "Make a link to set a new password", adminsOf, http.StatusCreated, g.createResetLink)

	get(a, "/classes", "list-classes", "List the session classes", everyUse, g.listClasses)
	get(a, "/workstation", "get-workstation", "What the home holds and may hold", everyUse, g.workstation, http.StatusNotFound)
	get(a, "/sessions", "list-sessions", "List the sessions", everyUse, g.listSessions)
	post(a, "/sessions", "create-session", "Make a session", sessions, http.StatusCreated, g.createSession, http.StatusConflict, http.StatusTooManyRequests, http.StatusGatewayTimeout)
	get(a, "/sessions/{session}", "get-session", "See a session", everyUse, g.getSession)
	patch(a, "/sessions/{session}", "rename-session", "Rename a session", sessions, g.renameSession, http.StatusConflict)
	del(a, "/sessions/{session}", "delete-session", "Delete a session", sessions, g.deleteSession, http.StatusConflict, http.StatusGatewayTimeout)
	post(a, "/sessions/{session}/wake", "wake-session", "Wake a session", sessions, http.StatusOK, g.wakeSession, http.StatusConflict, http.StatusGatewayTimeout)
	post(a, "/sessions/{session}/sleep", "sleep-session", "Put a session to sleep", sessions, http.StatusOK, g.sleepSession, http.StatusConflict, http.StatusGatewayTimeout)
	post(a, "/sessions/{session}/keep-awake", "keep-session-awake", "Keep a session from going to sleep by itself", sessions, http.StatusOK, g.keepAwake)
	del(a, "/sessions/{session}/notice", "dismiss-notice", "Take down what the session's notice says", sessions, g.dismissNotice)
	get(a, "/sessions/{session}/network", "session-network", "How far the session reaches, and what was refused", everyUse, g.sessionNetwork)
	post(a, "/sessions/{session}/tickets", "create-ticket", "Make a single-use ticket for a door of the session", everyUse, http.StatusCreated, g.createTicket, http.StatusConflict, http.StatusGatewayTimeout)

	get(a, "/sessions/{session}/tabs", "list-tabs", "List the tabs", terminal, g.listTabs, http.StatusConflict, http.StatusGatewayTimeout)
	post(a, "/sessions/{session}/tabs", "create-tab", "Open a tab", terminal, http.StatusCreated, g.createTab, http.StatusConflict, http.StatusTooManyRequests, http.StatusGatewayTimeout)
	patch(a, "/sessions/{session}/tabs/{tab}", "rename-tab", "Rename a tab", terminal, g.renameTab, http.StatusConflict, http.StatusGatewayTimeout)
	del(a, "/sessions/{session}/tabs/{tab}", "close-tab", "Close a tab", terminal, g.closeTab, http.StatusConflict, http.StatusGatewayTimeout)

	get(a, "/sessions/{session}/tabs/{tab}/screen", "tab-screen", "What a tab shows now, as JSON, or as text, plain or with its colours", terminal, g.tabScreen, http.StatusConflict, http.StatusGatewayTimeout)

	g.fileRoutes(a)
	g.templateRoutes(a)
	g.backupRoutes(a)
	g.restoreRoutes(a)

	a.describe("/healthz", "health", "Whether the process answers", anyone, http.StatusOK)
	a.describe("/readyz", "ready", "Whether the store and the runtime answer", anyone, http.StatusOK, http.StatusServiceUnavailable)
	a.describe("/metrics", "metrics", "Counters for Prometheus", admins, http.StatusOK,
		http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest)
	upgrade := []int{http.StatusSwitchingProtocols, http.StatusBadRequest, http.StatusForbidden, http.StatusMisdirectedRequest,
		http.StatusUpgradeRequired, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	signed := append([]int{http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict, http.StatusGatewayTimeout}, upgrade...)
	a.describe("/ws/hello", "hello-socket", "WebSocket: says hello and echoes", anyone, upgrade...)
	a.describe("/ws/terminal-probe", "probe-socket", "WebSocket: walks the way to a terminal hop by hop (query: session)", everyUse, signed...)
	a.describe("/ws/sessions/{session}", "mux-socket", "WebSocket, subprotocol staithe.mux.v1: all tabs of a session; a ticket is offered as staithe.ticket.TICKET", terminal, signed...)
	document, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("encode the OpenAPI document: %w", err)
	}
	mux.HandleFunc("GET /api/v1/openapi.json", openAPI(document))
	mux.HandleFunc("/api/", g.noOperation(mux))

	mux.HandleFunc("GET /ws/sessions/{session}", g.mux)
	mux.HandleFunc("GET /ws/terminal-probe", g.probe)
	mux.HandleFunc("GET /ws/hello", g.hello)
	mux.HandleFunc("/ws/", g.noRoute)

	mux.HandleFunc("GET /healthz", g.health)
	mux.HandleFunc("GET /readyz", g.readyz)
	mux.HandleFunc("GET /metrics", g.serveMetrics)
	pages, err := g.page(page)
	if err != nil {
		return nil, err
	}
	mux.Handle("/", pages)
	return g.wrap(mux), nil
}

func openAPI(document []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(document)
	}
}
