package source

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"jit-gateway/internal/inventory"
)

// columns of a CSV source. Lists are separated by spaces, labels are
// key=value. One with a database or with roles is a PostgreSQL target.
var columns = []string{"name", "address", "logins", "labels", "aliases", "owners", "host_key", "host_name", "database", "roles"}

// parseCSV reads a table whose first line names its columns (RFC 4180).
func parseCSV(raw []byte) ([]inventory.Target, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))) // spreadsheets write a byte-order mark
	r.TrimLeadingSpace = true
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("line 1 names the columns: " + strings.Join(columns, ", "))
	}
	if err != nil {
		return nil, err
	}
	for i, h := range head {
		head[i] = strings.ToLower(strings.TrimSpace(h))
		if !slices.Contains(columns, head[i]) {
			return nil, fmt.Errorf("line 1: unknown column %q; known: %s", h, strings.Join(columns, ", "))
		}
		if slices.Contains(head[:i], head[i]) {
			return nil, fmt.Errorf("line 1: the column %q is there twice", h)
		}
	}
	if !slices.Contains(head, "name") {
		return nil, errors.New("line 1: the column name is missing")
	}
	var out []inventory.Target
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err // it names the line
		}
		line, _ := r.FieldPos(0)
		cell := map[string]string{}
		for i, h := range head {
			cell[h] = strings.TrimSpace(row[i])
		}
		t, err := csvTarget(cell)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		out = append(out, t)
	}
}

func csvTarget(cell map[string]string) (inventory.Target, error) {
	t := inventory.Target{Name: cell["name"], Aliases: strings.Fields(cell["aliases"]), Owners: strings.Fields(cell["owners"])}
	if t.Name == "" {
		return t, errors.New("the name is empty")
	}
	for _, l := range strings.Fields(cell["labels"]) {
		k, v, ok := strings.Cut(l, "=")
		if !ok {
			return t, fmt.Errorf("label %q is not key=value", l)
		}
		if t.Labels == nil {
			t.Labels = map[string]string{}
		}
		t.Labels[k] = v
	}
	if cell["database"] != "" || cell["roles"] != "" {
		t.Postgres = &inventory.PostgresTarget{Address: cell["address"], Database: cell["database"], Roles: strings.Fields(cell["roles"])}
		return t, nil
	}
	if cell["address"] != "" || cell["logins"] != "" || cell["host_key"] != "" || cell["host_name"] != "" {
		t.SSH = &inventory.SSHTarget{Address: cell["address"], Logins: strings.Fields(cell["logins"]), HostName: cell["host_name"]}
		if cell["host_key"] != "" {
			t.SSH.HostKeys = []string{cell["host_key"]}
		}
	}
	return t, nil
}
