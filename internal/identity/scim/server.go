package scim

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// Path below which the server is mounted.
const Path = "/scim/v2"

const (
	maxBody   = 2 << 20 // a group of 10,000 members, with room
	maxPage   = 200     // resources of one answer
	perSecond = 50      // requests; a provider that has more to say is told to wait
	burst     = 200
	minToken  = 32 // characters of a bearer token
)

// Users is the store of accounts.
type Users interface {
	User(ctx context.Context, id string) (identity.User, error)
	UserByName(ctx context.Context, name string) (identity.User, error)
	UserBySCIM(ctx context.Context, scimID string) (identity.User, error)
	UserByUserName(ctx context.Context, userName string) (identity.User, error)
	Users(ctx context.Context) ([]identity.User, error)
	Keys(ctx context.Context, userID string) ([]identity.Key, error)
	CreateUser(ctx context.Context, u identity.User, ev audit.Event) error
	UpdateUser(ctx context.Context, u identity.User, ev audit.Event) error
	RemoveKey(ctx context.Context, userID, fingerprint string, ev audit.Event) error
}

// Groups is the store of groups that a client manages.
type Groups interface {
	CreateSCIMGroup(ctx context.Context, g store.SCIMGroup, ev audit.Event) error
	SCIMGroup(ctx context.Context, id string) (store.SCIMGroup, error)
	SCIMGroups(ctx context.Context) ([]store.SCIMGroup, error)
	UpdateSCIMGroup(ctx context.Context, g store.SCIMGroup, ev audit.Event) error
	DeleteSCIMGroup(ctx context.Context, id string, ev audit.Event) error
}

// Options builds a Server. All but Reserved and Logger are required.
type Options struct {
	Users  Users
	Groups Groups
	// Tokens are the bearer tokens that are good: two while one is replaced.
	// Their SHA-256 alone is kept.
	Tokens []string
	// Manage maps the client's groups to ours: nothing else is given or taken.
	Manage map[string]string
	// Reserved reports names that rules name: an administrator makes such accounts.
	Reserved func(name string) bool
	URL      string // of the page, https://host:port
	Log      interface {
		Append(ctx context.Context, ev audit.Event) (audit.Event, error)
	}
	Now    func() time.Time
	Logger *slog.Logger
}

// Server is the SCIM server. It is an http.Handler, mounted at Path.
type Server struct {
	o        Options
	tokens   [][sha256.Size]byte
	limit    *rate.Limiter
	refusals *rate.Limiter // that are logged: strangers must not fill the log
	mux      *http.ServeMux
}

// New checks the options.
func New(o Options) (*Server, error) {
	switch {
	case o.Users == nil, o.Groups == nil, o.Log == nil, o.Now == nil, o.URL == "":
		return nil, errors.New("scim: an option is missing")
	case len(o.Tokens) == 0:
		return nil, errors.New("scim: there is no bearer token")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, limit: rate.NewLimiter(perSecond, burst), refusals: rate.NewLimiter(1, 10)}
	for _, t := range o.Tokens {
		if len(t) < minToken {
			return nil, errors.New("scim: a bearer token is shorter than 32 characters; make one with: openssl rand -hex 32")
		}
		s.tokens = append(s.tokens, sha256.Sum256([]byte(t)))
	}
	s.mux = s.routes()
	return s, nil
}

func (s *Server) routes() *http.ServeMux {
	m := http.NewServeMux()
	handle := func(pattern string, h func(*call) error) {
		method, path, _ := strings.Cut(pattern, " ")
		m.HandleFunc(method+" "+Path+path, func(w http.ResponseWriter, r *http.Request) {
			c := &call{s: s, w: w, r: r, ctx: r.Context(), actor: audit.Actor{Name: "scim", Source: sourceOf(r), Via: "scim"}}
			if err := h(c); err != nil {
				c.fail(err)
			}
		})
	}
	handle("GET /ServiceProviderConfig", (*call).providerConfig)
	handle("GET /ResourceTypes", (*call).resourceTypes)
	handle("GET /ResourceTypes/{id}", (*call).resourceTypes)
	handle("GET /Schemas", (*call).schemas)
	handle("GET /Schemas/{id}", (*call).schemas)
	handle("GET /Users", (*call).listUsers)
	handle("POST /Users", (*call).createUser)
	handle("GET /Users/{id}", (*call).getUser)
	handle("PUT /Users/{id}", (*call).putUser)
	handle("PATCH /Users/{id}", (*call).patchUser)
	handle("DELETE /Users/{id}", (*call).deleteUser)
	handle("GET /Groups", (*call).listGroups)
	handle("POST /Groups", (*call).createGroup)
	handle("GET /Groups/{id}", (*call).getGroup)
	handle("PUT /Groups/{id}", (*call).putGroup)
	handle("PATCH /Groups/{id}", (*call).patchGroup)
	handle("DELETE /Groups/{id}", (*call).deleteGroup)
	for _, unknown := range []string{"/Bulk", "/Me", "/.search", "/Users/.search", "/Groups/.search"} {
		handle("POST "+unknown, func(*call) error { return problem(http.StatusNotImplemented, "", "this server does not offer that") })
	}
	m.HandleFunc(Path+"/", func(w http.ResponseWriter, r *http.Request) {
		(&call{s: s, w: w, r: r}).fail(problem(http.StatusNotFound, "", "there is no such resource"))
	})
	return m
}

// ServeHTTP authenticates first: strangers learn nothing but that.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, w: w, r: r, ctx: r.Context()}
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			s.o.Logger.Error("scim panicked", "path", r.URL.Path, "panic", p)
			c.fail(problem(http.StatusInternalServerError, "", "something went wrong here"))
		}
	}()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if !s.authentic(r) {
		c.refused()
		h.Set("WWW-Authenticate", `Bearer realm="scim"`)
		c.fail(problem(http.StatusUnauthorized, "", "this needs the bearer token of the configuration's scim.tokens"))
		return
	}
	// Behind the token: strangers must not use up what the provider needs to send somebody away.
	if !s.limit.Allow() {
		h.Set("Retry-After", "2")
		c.fail(problem(http.StatusTooManyRequests, "", "too many requests; wait two seconds"))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// authentic compares with every token in constant time.
func (s *Server) authentic(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, ok := sha256.Sum256([]byte(strings.TrimSpace(token))), 0
	for _, want := range s.tokens {
		ok |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return ok == 1 && strings.EqualFold(scheme, "Bearer")
}

// refused puts an attempt without the token into the log, some of many.
func (c *call) refused() {
	if !c.s.refusals.Allow() {
		return
	}
	_, err := c.s.o.Log.Append(c.ctx, audit.Event{Type: audit.SCIMRefused, Outcome: audit.Denied, Actor: audit.Actor{Source: sourceOf(c.r), Via: "scim"},
		Reason: "no valid bearer token", Detail: map[string]string{"path": display.Line(c.r.URL.Path, 200)}})
	if err != nil {
		c.s.o.Logger.Error("log a refused SCIM request", "error", err)
	}
}

func sourceOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// call is one request.
type call struct {
	s     *Server
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context
	actor audit.Actor

	groups []store.SCIMGroup // read when first needed
}

// read decodes the body.
func (c *call) read(v any) error {
	raw, err := io.ReadAll(c.r.Body)
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return problem(http.StatusRequestEntityTooLarge, "", "the request is longer than 2 MiB")
	case err != nil:
		return problem(http.StatusBadRequest, "invalidSyntax", "the request could not be read")
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return problem(http.StatusBadRequest, "invalidSyntax", "the request is not the JSON that is expected here")
	}
	return nil
}

// answer sends a resource.
func (c *call) answer(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/scim+json; charset=utf-8")
	if m, ok := v.(resource); ok {
		meta, _ := m["meta"].(resource)
		if tag, ok := meta["version"].(string); ok {
			c.w.Header().Set("ETag", tag)
		}
		if at, ok := meta["location"].(string); ok && status == http.StatusCreated {
			c.w.Header().Set("Location", at)
		}
	}
	c.w.WriteHeader(status)
	_, err = c.w.Write(b)
	if err != nil {
		c.s.o.Logger.Debug("answer a SCIM client", "error", err)
	}
	return nil
}
