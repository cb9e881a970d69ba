package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/session"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gateway is a store with one sealed recording and one live session, and keys.
func gateway(t *testing.T) (*world.World, Options, *audit.Signer) {
	t.Helper()
	w := world.New(t, world.Options{})
	w.Run(false)
	s := w.Begin(w.Grant("web01", "deploy", time.Hour))
	ok(t, s.Recorder().Output(0, 1, []byte("what was done")))
	ok(t, s.Finish(t.Context(), session.Outcome{}))
	live := w.Begin(w.Grant("web01", "deploy", time.Hour))
	t.Cleanup(func() { ok(t, live.Finish(context.Background(), session.Outcome{})) })
	skey, _, err := audit.GenerateKey("gw")
	ok(t, err)
	signer, err := audit.NewSigner(skey)
	ok(t, err)
	keys := filepath.Join(t.TempDir(), "keys")
	ok(t, os.MkdirAll(filepath.Join(keys, "ca"), 0o700))
	for name, text := range map[string]string{"audit.key": skey, "ca/user": "CA", "seal.key": "SEALING KEY", "elsewhere": "THE OTHER SEALING KEY"} {
		ok(t, os.WriteFile(filepath.Join(keys, name), []byte(text), 0o600))
	}
	conf := filepath.Join(t.TempDir(), "c.yaml")
	ok(t, os.WriteFile(conf, []byte("name: gw\n"), 0o600))
	return w, Options{Gateway: "gw", Program: "test", Keys: keys, SealKey: "file:" + filepath.Join(keys, "elsewhere"), Config: conf, Temp: t.TempDir(), Now: time.Now,
		Recordings: w.Recordings,
		Snapshot: func(ctx context.Context, to string) error {
			return sqlite.Snapshot(ctx, filepath.Join(w.Dir, "jit.db"), to)
		},
		Sign: (&audit.Checkpointer{Log: w.DB, Source: w.DB, Signer: signer, Now: time.Now}).Sign}, signer
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	ok(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = string(b)
		if in, _ := d.Info(); in.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", rel, in.Mode())
		}
		return err
	}))
	return out
}

// A backup of a live gateway holds a consistent store and everything but the
// sealing key, under whatever name it lies; only what is whole is restored.
func TestG8BackupHasNoSealingKey(t *testing.T) {
	t.Parallel()
	w, o, signer := gateway(t)
	var b bytes.Buffer
	m, err := Write(t.Context(), &b, o)
	ok(t, err)
	dir := filepath.Join(t.TempDir(), "new")
	got, err := Read(bytes.NewReader(b.Bytes()), dir)
	ok(t, err)
	if got.Events != m.Events || got.Checkpoint == "" || len(got.Files) != len(m.Files) {
		t.Errorf("manifest %+v", got)
	}
	files := tree(t, dir)
	recordings := 0
	for name, text := range files {
		if strings.Contains(text, "SEALING KEY") {
			t.Errorf("%s holds the sealing key", name)
		}
		if strings.HasPrefix(name, "recordings/") {
			recordings++
		}
	}
	if files["keys/ca/user"] != "CA" || files[ConfigName] != "name: gw\n" || recordings != 1 {
		t.Errorf("%d files, %d recordings", len(files), recordings)
	}
	if left, _ := os.ReadDir(o.Temp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, StoreName), sqlite.Options{})
	ok(t, err)
	defer db.Close()
	vkey, err := audit.PublicKey(files["keys/audit.key"])
	ok(t, err)
	rep, err := audit.Verify(t.Context(), db, vkey, audit.VerifyOptions{Against: []string{m.Checkpoint}})
	if err != nil || !rep.Intact() || rep.Events != m.Events {
		t.Errorf("the log in the backup: %v %v", rep, err)
	}

	// A copy that was kept outside has more; the log that goes on has, too.
	_, err = w.DB.Append(t.Context(), audit.Event{Type: audit.UserDisabled, Outcome: audit.Success, User: "Ubob", Actor: audit.Gateway})
	ok(t, err)
	var copied bytes.Buffer
	_, err = audit.Export(t.Context(), w.DB, &copied)
	ok(t, err)
	c, err := Compare(t.Context(), db, bytes.NewReader(append(copied.Bytes(), copied.Bytes()...)), "sink.jsonl", vkey)
	ok(t, err)
	if c.Missing != 1 || len(c.Differs) != 0 || c.Lost[0].Type != audit.UserDisabled || c.Reaches != m.Events+1 || !strings.Contains(c.String(), "has 1 events that the restored log has not") {
		t.Errorf("%+v: %s", c, c)
	}
	point, err := (&audit.Checkpointer{Log: w.DB, Source: w.DB, Signer: signer, Now: time.Now}).Sign(t.Context())
	ok(t, err)
	// A copy in which the disk was full once: the line is there again below.
	torn := append(append([]byte(nil), copied.Bytes()[:copied.Len()-40]...), append([]byte("\n"), copied.Bytes()...)...)
	if c, err := Compare(t.Context(), db, bytes.NewReader(torn), "torn", vkey); err != nil || c.Torn != 1 || c.Missing != 1 || !strings.Contains(c.String(), "passed over: 1") {
		t.Errorf("a copy with a torn line: %+v, %v", c, err)
	}
	if c, err := Compare(t.Context(), db, strings.NewReader(point.Note), "point", vkey); err != nil || c.Missing != 1 || c.Good() {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := Compare(t.Context(), db, strings.NewReader(m.Checkpoint), "point", vkey); err != nil || !c.Good() {
		t.Errorf("%+v, %v", c, err)
	}
	changed := bytes.Replace(copied.Bytes(), []byte(`"name":"alice"`), []byte(`"name":"alicia"`), 1)
	if c, err := Compare(t.Context(), db, bytes.NewReader(changed), "changed", vkey); err != nil || len(c.Differs) != 1 || !strings.Contains(c.String(), "NOT the same") {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", "hello", "{}", `{"seq":1}`, "{\"seq\":-1,\"type\":\"x\"}"} {
		if c, err := Compare(t.Context(), db, strings.NewReader(bad), "bad", vkey); err == nil {
			t.Errorf("%q: %+v", bad, c)
		}
	}
}

func TestBackupIsWholeOrRefused(t *testing.T) {
	t.Parallel()
	_, o, _ := gateway(t)
	var b bytes.Buffer
	_, err := Write(t.Context(), &b, o)
	ok(t, err)
	whole := b.Bytes()
	base := t.TempDir()
	good := filepath.Join(base, "good")
	_, err = Read(bytes.NewReader(whole), good)
	ok(t, err)
	for i := range 60 { // cut, and changed, all over the file
		at := len(whole) * i / 60
		flipped := bytes.Clone(whole)
		flipped[at] ^= 0x10
		for name, bad := range map[string][]byte{"cut": whole[:at], "flipped": flipped} {
			dir := filepath.Join(base, fmt.Sprintf("%s%d", name, i))
			if _, err := Read(bytes.NewReader(bad), dir); err == nil {
				// Some bits of a compressed stream change nothing of what it holds.
				if name == "cut" || !sameFiles(t, good, dir) {
					t.Errorf("%s at %d of %d: restored", name, at, len(whole))
				}
				continue
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%s at %d: left %v", name, at, left)
			}
		}
	}
	full := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(full, "x"), nil, 0o600))
	if _, err := Read(bytes.NewReader(whole), full); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into a full directory: %v", err)
	}
	// What the disk does not take is no backup.
	if _, err := Write(t.Context(), &short{left: 2000}, o); err == nil {
		t.Error("a write error was lost")
	}
}

type short struct{ left int }

func (s *short) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left < 0 {
		return 0, fs.ErrInvalid
	}
	return len(p), nil
}

func TestEncryptedBackup(t *testing.T) {
	t.Parallel()
	_, o, _ := gateway(t)
	id, err := age.GenerateX25519Identity()
	ok(t, err)
	other, err := age.GenerateX25519Identity()
	ok(t, err)
	o.Recipients = []age.Recipient{id.Recipient()}
	var b bytes.Buffer
	_, err = Write(t.Context(), &b, o)
	ok(t, err)
	_, err = Read(bytes.NewReader(b.Bytes()), filepath.Join(t.TempDir(), "a"), id)
	ok(t, err)
	if _, err := Read(bytes.NewReader(b.Bytes()), filepath.Join(t.TempDir(), "b")); err == nil || !strings.Contains(err.Error(), "--identity") {
		t.Error(err)
	}
	if _, err := Read(bytes.NewReader(b.Bytes()), filepath.Join(t.TempDir(), "c"), other); err == nil {
		t.Error("another identity opened it")
	}
}

// A hostile file writes nothing outside, and nothing but plain files.
func TestG8HostileBackup(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]tar.Header{
		"up": {Name: "../evil", Size: 4}, "up from keys": {Name: "keys/../../evil", Size: 4}, "absolute": {Name: "/tmp/evil-backup", Size: 4},
		"unknown": {Name: "bin/evil", Size: 4}, "link": {Name: "keys/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		"hard": {Name: "keys/hard", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, "device": {Name: "keys/d", Typeflag: tar.TypeChar}, "twice": {Name: ConfigName, Size: 4},
	} {
		var b bytes.Buffer
		z, err := zstd.NewWriter(&b)
		ok(t, err)
		w := tar.NewWriter(z)
		m := Manifest{Version: Version}
		put := func(h tar.Header, text string) {
			h.Mode = 0o600
			ok(t, w.WriteHeader(&h))
			_, err := w.Write([]byte(text))
			ok(t, err)
		}
		for _, n := range []string{StoreName, ConfigName} {
			put(tar.Header{Name: n, Size: 4}, "good")
			m.Files = append(m.Files, File{n, 4, "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c"})
		}
		if name != "none" {
			put(h, "evil"[:h.Size])
		}
		text, err := json.Marshal(m)
		ok(t, err)
		put(tar.Header{Name: manifestName, Size: int64(len(text))}, string(text))
		ok(t, w.Close())
		ok(t, z.Close())
		base := t.TempDir()
		if _, err := Read(&b, filepath.Join(base, "data")); err == nil {
			t.Errorf("%s: restored", name)
		}
		left, err := os.ReadDir(base)
		if err != nil || len(left) != 1 {
			t.Errorf("%s: %v beside the directory", name, left)
		}
	}
}

// sameFiles reports whether two directories hold the same files.
func sameFiles(t *testing.T, a, b string) bool {
	t.Helper()
	read := func(dir string) map[string]string {
		out := map[string]string{}
		ok(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			rel, _ := filepath.Rel(dir, path)
			out[rel] = string(raw)
			return err
		}))
		return out
	}
	return maps.Equal(read(a), read(b))
}
