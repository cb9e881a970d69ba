package scim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
)

// term is one comparison of a filter: attribute eq value.
type term struct {
	attr  string // in lower case, without a schema's URN
	value string
}

const maxFilter = 2000

// operand matches one comparison at the beginning of a filter.
var operand = regexp.MustCompile(`(?i)^\s*([a-z$][a-z0-9._:$-]*)\s+eq\s+("(?:[^"\\]|\\.)*"|true|false)`)

// parseFilter reads the filters that providers send: eq, joined by "and".
// RFC 7644 has more, and allows to refuse it in words.
func parseFilter(s string) ([]term, error) {
	bad := func() ([]term, error) {
		return nil, problem(http.StatusBadRequest, "invalidFilter", "only comparisons with eq, joined by and, are understood")
	}
	if len(s) > maxFilter {
		return bad()
	}
	var out []term
	for rest := s; ; {
		m := operand.FindStringSubmatch(rest)
		if m == nil {
			return bad()
		}
		value := strings.ToLower(m[2])
		if m[2][0] == '"' {
			if json.Unmarshal([]byte(m[2]), &value) != nil {
				return bad()
			}
		}
		out = append(out, term{plainAttr(m[1]), value})
		rest = strings.TrimSpace(rest[len(m[0]):])
		if rest == "" {
			return out, nil
		}
		if len(rest) < 4 || !strings.EqualFold(rest[:3], "and") || rest[3] != ' ' && rest[3] != '\t' {
			return bad()
		}
		rest = rest[4:]
	}
}

const (
	userSchema       = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupSchema      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseSchema = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

// plainAttr is an attribute's name in lower case, without the core schema's URN before it.
func plainAttr(s string) string {
	s = strings.ToLower(s)
	for _, urn := range []string{userSchema, groupSchema} {
		if rest, ok := strings.CutPrefix(s, strings.ToLower(urn)+":"); ok {
			return rest
		}
	}
	return s
}
