package web_test

import (
	"testing"

	"jit-gateway/internal/web"
	"jit-gateway/session"
)

// options adds what the page needs beyond its first view.
func (s *site) options(o web.Options) web.Options { return o }

// more are the pages beyond the first view.
func (s *site) more(t *testing.T, ended, live session.Row) []view { return nil }
