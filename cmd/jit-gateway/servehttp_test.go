package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
)

// A listener that is closed by the end itself, as the page's is, is no failure
// of the server, whichever of the two hears of the end first.
func TestServeHTTPEndsWithItsListener(t *testing.T) {
	g := &gateway{log: slog.New(slog.DiscardHandler)}
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- g.serveHTTP(ctx, endingListener{ctx}, http.NotFoundHandler(), false) }()
		cancel()
		if err := <-served; err != nil {
			t.Fatal(err)
		}
	}
	if err := g.serveHTTP(t.Context(), brokenListener{}, http.NotFoundHandler(), false); err == nil {
		t.Error("a listener that fails by itself was taken for the end")
	}
}

type endingListener struct{ ctx context.Context }

func (l endingListener) Accept() (net.Conn, error) { <-l.ctx.Done(); return nil, net.ErrClosed }
func (endingListener) Close() error                { return nil }
func (endingListener) Addr() net.Addr              { return &net.TCPAddr{} }

type brokenListener struct{ endingListener }

func (brokenListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
