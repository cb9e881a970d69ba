package web_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// A form that is refused writes the refusal down, and must not be told of it:
// it would look again, be refused again, and so on for ever.
func TestRefusedFormDoesNotLookAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.httpSignIn(t, "alice")
	resp, err := c.Get(s.URL + "/")
	check(t, err)
	page, err := io.ReadAll(resp.Body)
	check(t, err)
	resp.Body.Close()
	seq := regexp.MustCompile(`data-live="(\d+)"`).FindSubmatch(page)
	if seq == nil {
		t.Fatalf("the page does not say where it stands: %s", page)
	}
	resp, err = c.Get(s.URL + "/ask?target=nosuch&login=x")
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Fatalf("the form was not refused: %d", resp.StatusCode)
	}
	s.ask(t, "web01", "deploy", "a real change", 0)
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/events?after="+string(seq[1]), nil)
	check(t, err)
	resp, err = c.Do(req)
	check(t, err)
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if data != "request.filed" {
				t.Errorf("the page was told of %q", data)
			}
			return
		}
	}
	t.Error("the stream ended before it told of the change")
}
