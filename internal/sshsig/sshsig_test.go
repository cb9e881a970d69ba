package sshsig

import (
	"bytes"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// keygen makes a key with OpenSSH and returns its file and itself.
func keygen(t *testing.T, args ...string) (string, ssh.PublicKey) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command("ssh-keygen", append([]string{"-q", "-N", "", "-f", file}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return file, key
}

func sign(t *testing.T, file, namespace, text string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ssh-keygen", append([]string{"-Y", "sign", "-n", namespace, "-f", file}, args...)...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What OpenSSH signs is accepted, and nothing near it.
func TestOpenSSH(t *testing.T) {
	const ns, text = "jit-gateway", "register SHA256:x for alice"
	for name, args := range map[string][]string{"ed25519": {"-t", "ed25519"}, "ecdsa": {"-t", "ecdsa"}, "rsa": {"-t", "rsa", "-b", "2048"}} {
		file, key := keygen(t, args...)
		sig := sign(t, file, ns, text)
		if err := Verify(sig, []byte(text), ns, key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := Verify(bytes.ReplaceAll(append([]byte("\n  "), sig...), []byte("\n"), []byte("\r\n")), []byte(text), ns, key); err != nil {
			t.Errorf("%s as browsers send it: %v", name, err)
		}
		if err := Verify(sign(t, file, ns, text, "-O", "hashalg=sha256"), []byte(text), ns, key); err != nil {
			t.Errorf("%s with SHA-256: %v", name, err)
		}
		_, other := keygen(t, "-t", "ed25519")
		for what, err := range map[string]error{
			"another text":      Verify(sig, []byte(text+" "), ns, key),
			"another key":       Verify(sig, []byte(text), ns, other),
			"another namespace": Verify(sign(t, file, "git", text), []byte(text), ns, key),
			"two of them":       Verify(append(bytes.Clone(sig), sig...), []byte(text), ns, key),
			"half of it":        Verify(sig[:len(sig)/2], []byte(text), ns, key),
			"nothing":           Verify(nil, []byte(text), ns, key),
			"a key":             Verify(ssh.MarshalAuthorizedKey(key), []byte(text), ns, key),
		} {
			if err == nil {
				t.Errorf("%s: accepted %s", name, what)
			}
		}
		// A changed bit anywhere in the blob.
		block, _ := pem.Decode(sig)
		if name != "ed25519" {
			continue // time
		}
		for i := range block.Bytes {
			b := bytes.Clone(block.Bytes)
			b[i] ^= 1
			if Verify(pem.EncodeToMemory(&pem.Block{Type: armor, Bytes: b}), []byte(text), ns, key) == nil {
				t.Errorf("%s: accepted with byte %d changed", name, i)
			}
		}
	}
}

// The one bit that may not be trusted: a signature with SHA-1, and a hardware
// key without touch, are refused before the arithmetic.
func TestWeakSignatures(t *testing.T) {
	_, rsa := keygen(t, "-t", "rsa", "-b", "2048")
	blob := ssh.Marshal(envelope{1, rsa.Marshal(), "jit-gateway", "", "sha512", ssh.Marshal(ssh.Signature{Format: ssh.KeyAlgoRSA, Blob: make([]byte, 256)})})
	err := Verify(pem.EncodeToMemory(&pem.Block{Type: armor, Bytes: append([]byte(magic), blob...)}), []byte("x"), "jit-gateway", rsa)
	if err == nil || !strings.Contains(err.Error(), "not accepted") {
		t.Errorf("SHA-1: %v", err)
	}
	sk, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Name        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, make([]byte, 32), "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	blob = ssh.Marshal(envelope{1, sk.Marshal(), "jit-gateway", "", "sha512", ssh.Marshal(ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: make([]byte, 64), Rest: []byte{0, 0, 0, 0, 1}})})
	err = Verify(pem.EncodeToMemory(&pem.Block{Type: armor, Bytes: append([]byte(magic), blob...)}), []byte("x"), "jit-gateway", sk)
	if err == nil || !strings.Contains(err.Error(), "touched") {
		t.Errorf("untouched: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.sig")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, s := range seeds {
		raw, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	raw, err := os.ReadFile("testdata/key.pub")
	if err != nil {
		f.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(raw)
	if err != nil {
		f.Fatal(err)
	}
	if err := Verify(must(f, "testdata/good.sig"), []byte("text"), "jit-gateway", key); err != nil {
		f.Fatalf("the good seed: %v", err)
	}
	f.Fuzz(func(t *testing.T, armored []byte) {
		if Verify(armored, []byte("not the text"), "jit-gateway", key) == nil {
			t.Error("accepted")
		}
	})
}

func must(f *testing.F, name string) []byte {
	raw, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	return raw
}
