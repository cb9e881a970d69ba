package source

import (
	"bytes"
	"encoding/json"
	"fmt"

	"jit-gateway/internal/inventory"
)

// Import reads entries that an administrator brings, in a format (Ansible,
// CSV, else YAML or JSON), and completes them as those of a source. They may
// name secrets and keys: it is the administrator who does.
func (r Reader) Import(format string, raw []byte, defaults inventory.Target) ([]inventory.Target, error) {
	var list []inventory.Target
	var err error
	if trimmed := bytes.TrimSpace(raw); format != Ansible && format != CSV && bytes.HasPrefix(trimmed, []byte("[")) && json.Valid(trimmed) {
		list, err = parseJSON(trimmed)
	} else {
		list, err = r.Parse(format, "import", raw)
	}
	if err != nil {
		return nil, err
	}
	for i := range list {
		fill(&list[i], defaults)
		r.Trust.Fill(&list[i])
	}
	return list, check(list)
}

// parseJSON reads what `target list --json` prints.
func parseJSON(raw []byte) ([]inventory.Target, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var list []inventory.Target
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("read the list as JSON: %w", err)
	}
	return list, nil
}
