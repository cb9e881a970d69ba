package command

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/identity"
)

// machines takes job tokens at their word: JSON claims.
func (w *world) machines() *mfa.Machines {
	w.Helper()
	m, err := mfa.NewMachines(w.mfa, mfa.MachineOptions{Once: w.db, VerifyToken: func(_ context.Context, issuer, raw string) (mfa.Job, error) {
		claims := map[string]any{}
		if json.Unmarshal([]byte(raw), &claims) != nil || issuer != "https://ci.example" {
			return mfa.Job{}, errors.New("the signature is wrong")
		}
		jti, _ := claims["jti"].(string)
		return mfa.Job{Issuer: issuer, ID: jti, IssuedAt: time.Now(), Expires: time.Now().Add(5 * time.Minute), Claims: claims}, nil
	}})
	w.must(err)
	return m
}

// machine adds ci-deploy of alice's, as an administrator does.
func (w *world) machine() {
	w.Helper()
	w.keys["ci-deploy"] = newKey(w.T)
	w.ok("local", keyLine(w.keys["ci-deploy"])+"\n", "user", "add", "ci-deploy", "--machine", "--owner", "alice", "--group", "ci", "--source", home, "--source", "198.51.100.0/24", "--key", "-")
}

func TestMachineByJobToken(t *testing.T) {
	story(t, func(w *world) {
		w.machine()
		w.ok("local", "", "user", "factor", "ci-deploy", "--issuer", "https://ci.example", "--claim", "repository_id=4711", "--claim", "environment=prod")
		if out := w.ok("local", "", "user", "factor", "ci-deploy"); !strings.Contains(out, "https://ci.example environment=prod repository_id=4711") {
			w.Error(out)
		}
		var r approval.Request
		w.json(&r, "ci-deploy", "", "request", "web01", "--reason", "deploy 1.2.3", "--for", "10m")
		if r.GrantID == "" || r.Duration != 10*time.Minute {
			w.Fatalf("%+v", r)
		}
		job := `{"jti":"j1","repository_id":"4711","environment":"prod"}`
		w.fails(Failed, "ci-deploy", "123456\n", []string{"activate", r.ID})
		w.fails(Failed, "ci-deploy", `{"jti":"j0","repository_id":"4712","environment":"prod"}`, []string{"activate", r.ID, "--token-stdin"}, `repository_id is "4712", not "4711"`)
		w.fails(Failed, "ci-deploy", "x", []string{"activate", r.ID, "--token-stdin"}, "not accepted")
		w.fails(Usage, "ci-deploy", "", []string{"activate", r.ID, "--token-stdin"}, "job's token is expected on stdin")
		w.fails(Failed, "alice", job, []string{"activate", r.ID, "--token-stdin"}, "for machines")
		if out := w.run("ci-deploy", job+"\n", "activate", r.ID, "--token-stdin"); out.status != OK || !strings.Contains(out.err+out.out, "deploy on web01 is open until") {
			w.Errorf("%+v", out)
		}
		w.fails(Failed, "ci-deploy", job, []string{"activate", r.ID, "--token-stdin"}, "used already")
		w.fails(Usage, "ci-deploy", job, []string{"activate", r.ID, "--token-stdin", "--cert-stdin"})
		g, err := w.svc.Grant(w.Context(), w.as("ci-deploy").Caller, r.GrantID)
		w.must(err)
		if g.State != approval.Active || g.Factor.Kind != mfa.JobToken || g.End.Sub(g.Start) != 10*time.Minute {
			w.Errorf("%+v", g)
		}
		// A machine manages nobody and approves nothing.
		w.fails(Failed, "ci-deploy", "", []string{"user", "list"}, "auditors and administrators")
	})
}

func TestMachineByCertificate(t *testing.T) {
	story(t, func(w *world) {
		w.machine()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		w.must(err)
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
			DNSNames: []string{"ci.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		w.must(err)
		cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		w.fails(Usage, "local", "x", []string{"user", "factor", "ci-deploy", "--ca", "-", "--san", "DNS:ci.example"}, "PEM")
		w.ok("local", cert, "user", "factor", "ci-deploy", "--ca", "-", "--san", "DNS:ci.example")
		var r approval.Request
		w.json(&r, "ci-deploy", "", "request", "web01", "--reason", "deploy 1.2.3")
		challenge := w.ok("ci-deploy", "", "activate", r.ID, "--challenge")
		sum := sha256.Sum256([]byte(challenge))
		sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		w.must(err)
		answer := challenge + cert + base64.StdEncoding.EncodeToString(sig) + "\n"
		w.fails(Failed, "ci-deploy", strings.Replace(answer, "1:", "2:", 1), []string{"activate", r.ID, "--cert-stdin"}, "not accepted")
		w.ok("ci-deploy", answer, "activate", r.ID, "--cert-stdin")
		w.fails(Failed, "ci-deploy", answer, []string{"activate", r.ID, "--cert-stdin"}, "used already")
	})
}

// TestG6WhatAMachineIsWidens: a factor, another owner, further networks wait
// for a second administrator; fewer networks and a factor less do not.
func TestG6WhatAMachineIsWidens(t *testing.T) {
	story(t, func(w *world) {
		w.machine()
		w.user("dana", "admins")
		var waiting []any
		for _, args := range [][]string{
			{"user", "factor", "ci-deploy", "--issuer", "https://ci.example", "--claim", "repository_id=4711"}, {"user", "set", "ci-deploy", "--owner", "bob"},
			{"user", "set", "ci-deploy", "--source", "203.0.113.0/24"}, {"user", "set", "ci-deploy", "--source", "198.51.0.0/16"}, {"user", "link", "alice", "--issuer", "https://idp", "--subject", "s"},
			{"user", "add", "other", "--machine", "--owner", "bob", "--source", home, "--group", "ci"},
		} {
			if r := w.run("erin", w.code("erin")+"\n", args...); r.status != OK || !strings.Contains(r.out+r.err, "waits for a second administrator") {
				w.Errorf("%v: %+v", args, r)
			}
		}
		w.json(&waiting, "dana", "", "confirm")
		u, err := w.db.UserByName(w.Context(), "ci-deploy")
		w.must(err)
		if len(waiting) != 6 || u.Version != 1 || u.Owner != "Ualice" {
			w.Errorf("%d wait; %+v", len(waiting), u)
		}
		if r := w.run("erin", w.code("erin")+"\n", "user", "set", "ci-deploy", "--source", "198.51.100.7"); r.status != OK || strings.Contains(r.out+r.err, "waits") {
			w.Errorf("%+v", r)
		}
		for _, bad := range [][]string{{"--source", "0.0.0.0/0"}, {"--source", "::/0"}, {"--source", "here"}, {"--source", "fe80::1%eth0"}, {"--owner", "ci-deploy"}, {"--owner", "nobody"}} {
			if r := w.run("local", "", append([]string{"user", "set", "ci-deploy"}, bad...)...); r.status == OK {
				w.Errorf("%v was accepted", bad)
			}
		}
		w.fails(Usage, "local", "", []string{"user", "set", "alice", "--source", home}, "Only machines")
		w.fails(Failed, "local", "", []string{"user", "factor", "alice", "--issuer", "https://ci.example", "--claim", "repository_id=1"}, "is a person")
	})
}

func TestUserLink(t *testing.T) {
	story(t, func(w *world) {
		w.ok("local", "", "user", "link", "alice", "--issuer", "https://idp.example", "--subject", "s-1", "--scim", "x-1")
		u, err := w.db.UserBySubject(w.Context(), "https://idp.example", "s-1")
		w.must(err)
		if u.Name != "alice" || u.SCIMID != "x-1" {
			w.Errorf("%+v", u)
		}
		w.fails(Failed, "local", "", []string{"user", "link", "bob", "--issuer", "https://idp.example", "--subject", "s-1"}, "linked to that already")
		w.fails(Usage, "local", "", []string{"user", "link", "bob", "--issuer", "https://idp.example"})
		w.fails(Usage, "local", "", []string{"user", "link", "bob"})
		w.ok("local", "", "user", "link", "alice", "--unlink")
		if u, err = w.db.UserByName(w.Context(), "alice"); err != nil || u.Subject+u.SCIMID != "" {
			w.Errorf("%+v, %v", u, err)
		}
	})
}

func TestEnrolAMachine(t *testing.T) {
	story(t, func(w *world) {
		w.machine()
		var inv struct{ Code string }
		w.json(&inv, "local", "", "user", "invite", "ci-deploy")
		w.ok("stranger", "", "enroll", inv.Code)
		keys, err := w.db.Keys(w.Context(), mustUser(w, "ci-deploy").ID)
		w.must(err)
		fs, err := w.mfa.Factors(w.Context(), mustUser(w, "ci-deploy").ID)
		w.must(err)
		if len(keys) != 2 || keys[1].Fingerprint != ssh.FingerprintSHA256(w.keys["stranger"]) && keys[0].Fingerprint != ssh.FingerprintSHA256(w.keys["stranger"]) || len(fs) != 0 {
			w.Errorf("%+v %+v", keys, fs)
		}
	})
}

func mustUser(w *world, name string) identity.User {
	w.Helper()
	u, err := w.db.UserByName(w.Context(), name)
	w.must(err)
	return u
}
