package scim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const listSchema = "urn:ietf:params:scim:api:messages:2.0:ListResponse"

// sendPage sends one page of a list (RFC 7644 section 3.4.2.4): startIndex
// counts from 1, count may be 0.
func sendPage[T any](c *call, all []T, show func(T) (resource, error)) error {
	start, err := number(c, "startIndex", 1)
	if err != nil {
		return err
	}
	count, err := number(c, "count", maxPage)
	if err != nil {
		return err
	}
	start, count = max(start, 1), min(max(count, 0), maxPage)
	from := min(start-1, len(all))
	to := min(from+count, len(all))
	out := []any{}
	for _, v := range all[from:to] {
		r, err := show(v)
		if err != nil {
			return err
		}
		out = append(out, c.pick(r))
	}
	return c.answer(http.StatusOK, resource{"schemas": []string{listSchema}, "totalResults": len(all), "startIndex": start, "itemsPerPage": len(out), "Resources": out})
}

func number(c *call, name string, fallback int) (int, error) {
	v := c.r.FormValue(name)
	if v == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, problem(http.StatusBadRequest, "invalidValue", "%s is a whole number", name)
	}
	return n, nil
}

// pick leaves out what attributes and excludedAttributes say. What is always
// returned stays: id and schemas.
func (c *call) pick(r resource) resource {
	only, without := names(c, "attributes"), names(c, "excludedAttributes")
	for k := range r {
		if k == "id" || k == "schemas" {
			continue
		}
		low := strings.ToLower(k)
		if len(only) > 0 && !slices.Contains(only, low) || slices.Contains(without, low) {
			delete(r, k)
		}
	}
	return r
}

func names(c *call, param string) []string {
	var out []string
	for _, n := range strings.Split(c.r.FormValue(param), ",") {
		if n = plainAttr(strings.TrimSpace(n)); n != "" {
			n, _, _ = strings.Cut(n, ".")
			out = append(out, n)
		}
	}
	return out
}
