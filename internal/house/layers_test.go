package house

import (
	"path"
	"strconv"
	"strings"
	"testing"
)

// layers is the picture of DESIGN.md, section 4. A package imports only from
// layers below its own; siblings never import each other.
var layers = map[string]int{
	"internal/audit":    0,
	"internal/clock":    0,
	"internal/display":  0,
	"internal/id":       0,
	"internal/seal":     0,
	"internal/sshsig":   0, // signatures of ssh-keygen -Y: a leaf helper of the page
	"internal/store":    0,
	"recording/vt":      0, // a terminal's screen: a leaf helper of recording
	"recording/objects": 0, // an object store: a leaf helper of internal/archive
	"internal/webhook":  0,

	"internal/identity":  1,
	"internal/inventory": 1,
	"approval/mfa":       1,

	"internal/source": 2,
	"approval/policy": 2,
	"approval/risk":   2,
	"recording":       2,

	// What identity providers say; they know identity alone.
	"internal/identity/oidc":      2,
	"internal/identity/scim":      2,
	"internal/identity/lifecycle": 2,

	"approval": 3,
	"ca":       4,
	"session":  5,

	"internal/admin": 4, // what administrators change: for the commands and the page

	"proxy":             6,
	"internal/dialogue": 6,

	"internal/store/sqlstore": 6, // what both stores share: decision 0070

	"proxy/sshproxy":          7,
	"proxy/pgproxy":           7,
	"internal/web":            7,
	"internal/command":        7,
	"internal/config":         7,
	"internal/notify":         7,
	"internal/report":         7,
	"internal/ticket":         7,
	"internal/sink":           7,
	"internal/archive":        7,
	"internal/backup":         7,
	"internal/evidence":       7,
	"internal/search":         7,
	"internal/store/sqlite":   7,
	"internal/store/postgres": 7,

	"cmd/jit-gateway": 8,
}

// support is code that is not part of the gateway: it may import anything, and
// only tests and other support may import it.
var support = map[string]bool{
	"cmd/bench":                true,
	"cmd/demo":                 true,
	"cmd/dist":                 true,
	"internal/bench":           true,
	"internal/house":           true,
	"internal/store/storetest": true,
	"internal/testenv":         true,
	"internal/testenv/world":   true,
}

func supports(pkg string) bool {
	return support[pkg] || strings.HasPrefix(pkg, "internal/testenv/") || strings.Contains(pkg+"/", "testdata/") || strings.HasPrefix(pkg, "bench/")
}

func TestImportsPointDown(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || supports(f.pkg) {
			continue
		}
		from, known := layers[f.pkg]
		if !known {
			t.Errorf("%s: package %s has no place in the layers: give it one in layers_test.go, and say why in docs/decisions", f.path, f.pkg)
			continue
		}
		for _, spec := range f.ast.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			name, ours := strings.CutPrefix(name, module+"/")
			if !ours {
				continue
			}
			to, known := layers[name]
			switch {
			case supports(name):
				t.Errorf("%s imports %s, which is for tests only", f.path, name)
			case !known:
				t.Errorf("%s imports %s, which has no place in the layers", f.path, name)
			case to == from:
				t.Errorf("%s (layer %d) imports its sibling %s: declare what it needs as an interface, and let a higher layer connect the two", f.path, from, name)
			case to > from:
				t.Errorf("%s (layer %d) imports %s (layer %d): imports point down", f.path, from, name, to)
			}
		}
	}
}

// The YAML file has one reader, and database drivers stay with their stores.
func TestImportsThatHaveOneHome(t *testing.T) {
	homes := map[string][]string{
		"go.yaml.in/yaml/v3":               {"internal/config", "cmd/jit-gateway"},
		"github.com/mattn/go-sqlite3":      {"internal/store/sqlite"},
		"github.com/jackc/pgx/v5/stdlib":   {"internal/store/postgres"},
		"github.com/pressly/goose/v3":      {"internal/store/sqlite", "internal/store/postgres"},
		"github.com/jackc/pgx/v5/pgproto3": {"proxy/pgproxy"},
		"github.com/pquerna/otp":           {"approval/mfa"},
		"github.com/minio/minio-go/v7":     {"recording/objects"},
	}
	for _, f := range goFiles(t) {
		if f.test || supports(f.pkg) {
			continue
		}
		for _, spec := range f.ast.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			home, listed := homes[name]
			if !listed {
				home, listed = homes[path.Dir(name)]
			}
			if !listed {
				continue
			}
			ok := false
			for _, h := range home {
				ok = ok || f.pkg == h
			}
			if !ok {
				t.Errorf("%s imports %s: only %s may", f.path, name, strings.Join(home, " and "))
			}
		}
	}
}
