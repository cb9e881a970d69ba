package scim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
)

// patch is the body of a PATCH (RFC 7644 section 3.5.2).
type patch struct {
	Operations []operation `json:"Operations"`
}

type operation struct {
	Op    string          `json:"op"` // Entra writes "Add", "Replace", "Remove"
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

const (
	maxOperations = 1000
	maxMembers    = 10_000
)

// step is one change of one attribute.
type step struct {
	op    string // add, replace, remove
	attr  string // lower case: "active", "name.givenname", "members"
	where []term // of attr[filter]
	value any    // decoded JSON; nil if there was none
}

var pathRE = regexp.MustCompile(`(?i)^([a-z$][a-z0-9$_.:-]*)(?:\[(.*)\])?(?:\.([a-z][a-z0-9_-]*))?$`)

// steps reads the operations: a path-less value object becomes one step for
// each of its attributes.
func (p patch) steps() ([]step, error) {
	if len(p.Operations) == 0 || len(p.Operations) > maxOperations {
		return nil, problem(http.StatusBadRequest, "invalidSyntax", "a patch has 1 to %d operations", maxOperations)
	}
	var out []step
	for _, o := range p.Operations {
		op := strings.ToLower(o.Op)
		if op != "add" && op != "replace" && op != "remove" {
			return nil, problem(http.StatusBadRequest, "invalidSyntax", "%q is not an operation: add, replace, remove", o.Op)
		}
		var value any
		if len(o.Value) > 0 && json.Unmarshal(o.Value, &value) != nil {
			return nil, problem(http.StatusBadRequest, "invalidSyntax", "a value cannot be read")
		}
		if o.Path == "" {
			object, ok := value.(map[string]any)
			if !ok || op == "remove" {
				return nil, problem(http.StatusBadRequest, "noTarget", "an operation without a path needs an object of attributes")
			}
			for k, v := range object {
				st, err := parsePath(op, k, v)
				if err != nil {
					return nil, err
				}
				out = append(out, st)
			}
			continue
		}
		st, err := parsePath(op, o.Path, value)
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

func parsePath(op, path string, value any) (step, error) {
	if len(path) > maxFilter {
		return step{}, problem(http.StatusBadRequest, "invalidPath", "the path is too long")
	}
	if strings.EqualFold(path, enterpriseSchema) { // an extension's own object: nothing of it is kept
		return step{op: op, attr: strings.ToLower(enterpriseSchema), value: value}, nil
	}
	m := pathRE.FindStringSubmatch(path)
	if m == nil {
		return step{}, problem(http.StatusBadRequest, "invalidPath", "%q is not a path", path)
	}
	st := step{op: op, attr: plainAttr(m[1]), value: value}
	if strings.Contains(path, "[") {
		var err error
		if st.where, err = parseFilter(m[2]); err != nil {
			return step{}, err
		}
	}
	if m[3] != "" {
		st.attr += "." + strings.ToLower(m[3])
	}
	return st, nil
}

// text reads a string.
func text(st step) (string, error) {
	if st.op == "remove" || st.value == nil {
		return "", nil
	}
	s, ok := st.value.(string)
	if !ok {
		return "", problem(http.StatusBadRequest, "invalidValue", "%s needs text", st.attr)
	}
	return s, nil
}

// truth reads a boolean; Entra sends "True" and "False" as text.
func truth(v any) (bool, error) {
	switch b := v.(type) {
	case bool:
		return b, nil
	case string:
		switch strings.ToLower(b) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, problem(http.StatusBadRequest, "invalidValue", "active is true or false")
}
