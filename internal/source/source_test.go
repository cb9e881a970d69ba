package source

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"jit-gateway/internal/inventory"
)

func key(t *testing.T) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func names(list []inventory.Target) string {
	var out []string
	for _, t := range list {
		out = append(out, t.Name)
	}
	return strings.Join(out, " ")
}

const ansibleJSON = `{
  "_meta": {"hostvars": {
    "Web01.prod.example": {"ansible_host": "192.0.2.11", "ansible_port": 2200, "ansible_user": "deploy", "something": {"else": 1}},
    "web02.prod.example": {"jit_logins": ["deploy", "admin"], "jit_labels": {"env": "prod"}, "jit_aliases": ["web02"]},
    "alone.prod.example": {}}},
  "all": {"children": ["ungrouped", "web"]},
  "web": {"children": ["front", "web"]},
  "front": {"hosts": ["Web01.prod.example", "web02.prod.example"]},
  "ungrouped": {"hosts": ["alone.prod.example"]}
}`

func TestAnsible(t *testing.T) {
	ca := key(t)
	s := Source{Name: "fleet", Kind: Ansible, Path: put(t, filepath.Join(t.TempDir(), "i.json"), ansibleJSON),
		Defaults: inventory.Target{Labels: map[string]string{"env": "test", "from": "ansible"}, SSH: &inventory.SSHTarget{Logins: []string{"ops"}, HostCAs: []string{ca}}}}
	list, err := Reader{}.Read(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if names(list) != "alone.prod.example web01.prod.example web02.prod.example" {
		t.Fatalf("got %s", names(list))
	}
	web1, web2 := list[1], list[2]
	if web1.SSH.Address != "192.0.2.11:2200" || web1.SSH.Logins[0] != "deploy" || web1.Source != "fleet" {
		t.Errorf("web01 is %+v", *web1.SSH)
	}
	for l, want := range map[string]string{"group/web": "true", "group/front": "true", "env": "prod", "from": "ansible", "group/all": ""} {
		if web2.Labels[l] != want {
			t.Errorf("label %s is %q, want %q", l, web2.Labels[l], want)
		}
	}
	if list[0].SSH.Logins[0] != "ops" || list[0].SSH.Address != "alone.prod.example" || list[0].SSH.HostCAs[0] != ca {
		t.Errorf("the defaults did not fill: %+v", *list[0].SSH)
	}
	web1.SSH.Logins[0] = "x"
	if s.Defaults.SSH.Logins[0] != "ops" {
		t.Error("an entry shares memory with the defaults")
	}
}

func TestCSV(t *testing.T) {
	dir := t.TempDir()
	k := key(t)
	d := inventory.Target{SSH: &inventory.SSHTarget{Logins: []string{"ops"}},
		Postgres: &inventory.PostgresTarget{Address: "{name}.db.internal:5432", AdminUser: "jit", AdminPassword: "env:DB", CAFile: "/etc/ca.pem"}}
	read := func(text string) ([]inventory.Target, error) {
		return Reader{}.Read(t.Context(), Source{Name: "table", Kind: CSV, Path: put(t, filepath.Join(dir, "t.csv"), text), Defaults: d})
	}
	list, err := read("\xef\xbb\xbfname,address,labels,host_key,database,roles\n" +
		"web01,192.0.2.1,role=web env=prod," + k + ",,\n" +
		"orders,,env=prod,,,orders_ro orders_rw\n")
	if err != nil {
		t.Fatal(err)
	}
	if p := list[0].Postgres; list[0].Name != "orders" || p == nil || p.Address != "orders.db.internal:5432" || p.Database != "orders" || len(p.Roles) != 2 || p.AdminPassword != "env:DB" {
		t.Errorf("the database template gave %+v", list[0].Postgres)
	}
	if w := list[1]; w.SSH == nil || w.Labels["role"] != "web" || w.SSH.HostKeys[0] != k || w.SSH.Logins[0] != "ops" {
		t.Errorf("got %+v", w)
	}
	for text, want := range map[string]string{
		"":                         "line 1 names the columns",
		"name,adress\n":            `unknown column "adress"`,
		"address\nx\n":             "the column name is missing",
		"name,name\n":              "twice",
		"name,address\nweb01\n":    "line 2",
		"name,labels\nw,env\n":     `line 2: label "env" is not key=value`,
		"name,address\n,1.2.3.4\n": "line 2: the name is empty",
		"name,address,host_key\nw,1.2.3.4," + k + "\nw,1.2.3.5," + k + "\n": `the name "w" is taken`,
		"name,address,host_key\nw,1.2.3.4,\n":                               "never trusts on first use",
		"name,address,host_key,logins\nw,1.2.3.4," + k + ",a;b\n":           "is not a login name",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestTrustByPatternAndKnownHosts(t *testing.T) {
	ca, pin, other := key(t), key(t), key(t)
	file := put(t, filepath.Join(t.TempDir(), "known_hosts"), strings.Join([]string{
		knownhosts.HashHostname("web01.lab.example") + " " + pin,
		"[192.0.2.7]:2222 " + other,
		"@cert-authority *.cluster.example " + ca, ""}, "\n"))
	tr, err := NewTruster([]Trust{{Match: []string{"*.prod.example", "!old.prod.example"}, HostCAs: []string{ca}}, {KnownHosts: file}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, address, keys, cas string }{
		{"web01.prod.example", "192.0.2.1", "", ca},
		{"old.prod.example", "192.0.2.1", "", ""},
		{"web01.lab.example", "192.0.2.2", pin, ""},
		{"somewhere", "192.0.2.7:2222", other, ""},
		{"somewhere", "192.0.2.7", "", ""}, // another port is another server
		{"n1.cluster.example", "192.0.2.3", "", ca},
		{"unknown.example", "192.0.2.4", "", ""},
	} {
		target := inventory.Target{Name: c.name, SSH: &inventory.SSHTarget{Address: c.address}}
		tr.Fill(&target)
		if got := strings.Join(target.SSH.HostKeys, "|"); got != c.keys {
			t.Errorf("%s at %s: pins %q, want %q", c.name, c.address, got, c.keys)
		}
		if got := strings.Join(target.SSH.HostCAs, "|"); got != c.cas {
			t.Errorf("%s at %s: CAs %q, want %q", c.name, c.address, got, c.cas)
		}
	}
	own := inventory.Target{Name: "web01.prod.example", SSH: &inventory.SSHTarget{HostKeys: []string{other}}}
	if tr.Fill(&own); len(own.SSH.HostCAs) > 0 {
		t.Error("trust was added to a host that has a pin of its own")
	}
	for _, bad := range []Trust{{}, {Match: []string{"*"}, HostCAs: []string{ca}}, {HostCAs: []string{ca}}, {Match: []string{"*.x"}, HostCAs: []string{"nonsense"}}} {
		if len(bad.Validate()) == 0 {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// yamlStub stands for the configuration's decoder, which knows JSON as YAML.
func yamlStub(_ string, raw []byte) ([]inventory.Target, error) { return parseJSON(raw) }

func TestHTTPS(t *testing.T) {
	k := key(t)
	body, status := "", http.StatusOK
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "https://127.0.0.1:1/elsewhere")
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	}))
	defer srv.Close()
	ca := put(t, filepath.Join(t.TempDir(), "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	s := Source{Name: "cmdb", Kind: HTTPS, URL: srv.URL + "/targets", Token: "env:T", CAFile: ca,
		Defaults: inventory.Target{SSH: &inventory.SSHTarget{Logins: []string{"ops"}, HostKeys: []string{k}}}}
	r := Reader{YAML: yamlStub, Secret: func(string) (string, error) { return "s3cret\n", nil }}
	good := `[{"name":"web01","ssh":{"address":"192.0.2.1","logins":["deploy"]}}]`
	for what, c := range map[string]struct {
		body   string
		status int
		change func(*Source)
		want   string
	}{
		"good":        {body: good},
		"empty":       {body: "", want: "the answer is empty"},
		"error":       {body: good, status: 500, want: "500"},
		"redirect":    {body: good, status: http.StatusFound, want: "302"},
		"unknown CA":  {body: good, change: func(s *Source) { s.CAFile = "" }, want: "certificate"},
		"its own pin": {body: `[{"name":"w","ssh":{"address":"192.0.2.1","logins":["a"],"host_keys":["` + k + `"]}}]`, want: "host keys from the network are not believed"},
		"its own pin, believed": {body: `[{"name":"w","ssh":{"address":"192.0.2.1","logins":["a"],"host_keys":["` + k + `"]}}]`,
			change: func(s *Source) { s.Pins = true }},
		"a key of the gateway":    {body: `[{"name":"w","ssh":{"address":"192.0.2.1","logins":["a"],"key":"file:/etc/shadow"}}]`, want: "a source names no secrets"},
		"a secret of the gateway": {body: `[{"name":"d","postgres":{"address":"192.0.2.1","roles":["a"],"database":"d","admin_user":"x","admin_password":"file:/etc/shadow"}}]`, want: "a source names no secrets"},
		"a static secret":         {body: `[{"name":"d","postgres":{"address":"192.0.2.1","roles":["a"],"database":"d","identity":"static","static":{"a":"env:HOME"}}}]`, want: "a source names no secrets"},
		"a file of the gateway":   {body: `[{"name":"d","postgres":{"address":"192.0.2.1","roles":["a"],"database":"d","admin_user":"x","ca_file":"/etc/shadow"}}]`, want: "ca_file is a file of the gateway"},
		"too much":                {body: "[" + strings.Repeat(" ", maxSize), want: "more than"},
		"a wrong entry":           {body: `[{"name":"w","ssh":{"address":"a b","logins":["a"]}}]`, want: "is not host or host:port"},
	} {
		src := s
		if c.change != nil {
			c.change(&src)
		}
		if body, status = c.body, c.status; status == 0 {
			status = http.StatusOK
		}
		list, err := r.Read(t.Context(), src)
		switch {
		case c.want == "" && (err != nil || len(list) != 1):
			t.Errorf("%s: %v, %v", what, list, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows the token", what)
		}
	}
}

func TestSourcesAreChecked(t *testing.T) {
	for _, s := range []Source{
		{Name: "Bad Name", Kind: CSV, Path: "x"}, {Name: "../x", Kind: CSV, Path: "x"}, {Name: "a", Kind: "ldap"}, {Name: "a", Kind: CSV}, {Name: "a", Kind: Files, Path: "[x"},
		{Name: "a", Kind: HTTPS, URL: "http://cmdb.example/x"}, {Name: "a", Kind: HTTPS, URL: "https:///x"},
		{Name: "a", Kind: CSV, Path: "x", Every: 1}, {Name: "a", Kind: CSV, Path: "x", MaxLoss: 101},
	} {
		if len(s.Validate()) == 0 {
			t.Errorf("%+v was accepted", s)
		}
	}
	if errs := (Source{Name: "a", Kind: Files, Path: "targets.d/*.yaml"}).Validate(); len(errs) > 0 {
		t.Errorf("a good one was refused: %v", errs)
	}
}

func TestFilesThatAreNotThere(t *testing.T) {
	r := Reader{YAML: yamlStub}
	if _, err := r.Read(t.Context(), Source{Kind: Files, Path: filepath.Join(t.TempDir(), "unmounted", "*.yaml")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there is %v, not an empty source", err)
	}
	if list, err := r.Read(context.Background(), Source{Kind: Files, Path: filepath.Join(t.TempDir(), "*.yaml")}); err != nil || len(list) != 0 {
		t.Errorf("an empty directory: %v, %v", list, err)
	}
}

func FuzzAnsible(f *testing.F) {
	f.Add([]byte(ansibleJSON))
	f.Add([]byte(`{"_meta":{"hostvars":{"a":{"ansible_port":"x"}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if list, err := parseAnsible(raw); err == nil && !slices.IsSortedFunc(list, func(a, b inventory.Target) int { return strings.Compare(a.Name, b.Name) }) {
			t.Error("not sorted")
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("name,address,logins\nweb01,192.0.2.1,deploy admin\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := parseCSV(raw)
		for _, target := range list {
			if err == nil && target.Name == "" {
				t.Error("an entry without a name")
			}
		}
	})
}
