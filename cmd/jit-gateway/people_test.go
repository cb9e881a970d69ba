package main

import (
	"net/url"
	"testing"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store/sqlite"
)

// Passkeys are for host names; a gateway without one starts, and has none.
func TestPasskeysNeedAHostName(t *testing.T) {
	db, err := sqlite.Open(t.Context(), t.TempDir()+"/jit.db", sqlite.Options{Now: time.Now})
	check(t, err)
	defer db.Close()
	box, err := seal.New(make([]byte, 32))
	check(t, err)
	v, err := mfa.NewVerifier(mfa.Options{Store: db, Box: box, Now: time.Now})
	check(t, err)
	for page, want := range map[string]bool{"https://jit-gateway:8443": false, "https://localhost:8443": true, "https://jit.example.com": true, "https://jit.example.com:443/": true,
		"https://127.0.0.1:8443": false, "https://[::1]:8443": false, "https://:8443": false} {
		p, err := pagePasskeys(v, "jit-gateway", page)
		if err != nil || (p != nil) != want {
			t.Errorf("%s: %v, %v", page, p, err)
		}
	}
	for page, want := range map[string]string{"https://jit.example.com:443/x": "https://jit.example.com", "https://jit.example.com:8443": "https://jit.example.com:8443"} {
		if u, _ := url.Parse(page); origin(u) != want {
			t.Errorf("the origin of %s is %s", page, origin(u))
		}
	}
}
