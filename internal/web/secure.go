package web

import (
	"net/http"
	"strings"
)

// csp allows our own files and nothing else. cspPlayer is for the page that
// plays: asciinema-player's terminal emulator is WebAssembly.
const (
	cspRest   = "; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	csp       = "default-src 'none'; script-src 'self'" + cspRest
	cspPlayer = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'" + cspRest
)

// maxForm bounds a posted form: the longest reason is far below it.
const maxForm = 64 << 10

// secure wraps everything: headers, cross-origin protection, body limit, panics.
func (s *Server) secure(next http.Handler) http.Handler {
	cop := http.NewCrossOriginProtection()
	cop.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.o.Logger.Warn("cross-origin request refused", "path", r.URL.Path, "source", sourceOf(r))
		http.Error(w, "This request came from another site and was refused.", http.StatusForbidden)
	}))
	guarded := cop.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				s.o.Logger.Error("page panicked", "path", r.URL.Path, "panic", p)
				http.Error(w, "Something went wrong here. The operator's log has the detail.", http.StatusInternalServerError)
			}
		}()
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Embedder-Policy", "require-corp")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), "+
			"display-capture=(), publickey-credentials-get=(self), publickey-credentials-create=(self)")
		h.Set("X-Permitted-Cross-Domain-Policies", "none")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		if !strings.HasPrefix(r.URL.Path, "/static/") {
			h.Set("Cache-Control", "no-store")
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		guarded.ServeHTTP(w, r)
	})
}
