package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
)

// refusal is an error in SCIM's own format (RFC 7644 section 3.12).
type refusal struct {
	status int
	kind   string // scimType
	detail string
}

func (e *refusal) Error() string { return e.detail }

func problem(status int, kind, format string, args ...any) error {
	return &refusal{status, kind, display.Line(fmt.Sprintf(format, args...), 500)}
}

const errorSchema = "urn:ietf:params:scim:api:messages:2.0:Error"

// fail answers with an error. What is not a refusal is our trouble: the
// client learns that, the operator's log the detail.
func (c *call) fail(err error) {
	var r *refusal
	if !errors.As(err, &r) {
		switch {
		case errors.Is(err, store.ErrConflict):
			r = &refusal{http.StatusConflict, "", "this was changed at the same moment; try again"}
		case errors.Is(err, store.ErrExists):
			r = &refusal{http.StatusConflict, "uniqueness", "there is one like that already"}
		case errors.Is(err, store.ErrNotFound):
			r = &refusal{http.StatusNotFound, "", "there is no such resource"}
		default:
			c.s.o.Logger.Error("scim request failed", "method", c.r.Method, "path", c.r.URL.Path, "error", err)
			r = &refusal{http.StatusInternalServerError, "", "something went wrong here; the operator's log has the detail"}
		}
	}
	body := map[string]any{"schemas": []string{errorSchema}, "status": strconv.Itoa(r.status), "detail": r.detail}
	if r.kind != "" {
		body["scimType"] = r.kind
	}
	b, err := json.Marshal(body)
	if err != nil {
		b = []byte("{}")
	}
	c.w.Header().Set("Content-Type", "application/scim+json; charset=utf-8")
	c.w.WriteHeader(r.status)
	if _, err := c.w.Write(b); err != nil {
		c.s.o.Logger.Debug("answer a SCIM client", "error", err)
	}
}
