package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store"
)

// agree holds this gateway to the keys that the first gateway of the store
// recorded: users and targets must meet the same keys on every gateway, the
// audit log has one signer, and what one gateway sealed the others must open.
// Keys are deployed, not shared through the store: see docs/several-gateways.md.
func (g *gateway) agree(ctx context.Context, a *ca.Authority, auditKey string, box *seal.Box) error {
	if g.shared == nil {
		return nil
	}
	if err := g.agreeOnCAs(ctx, a); err != nil {
		return err
	}
	if err := g.agreeOn(ctx, "audit log", []string{strings.ReplaceAll(strings.TrimSpace(auditKey), " ", "_")}); err != nil {
		return err
	}
	const name, text = "seal key", "jit-gateway"
	mine := base64.StdEncoding.EncodeToString(box.Seal([]byte(text), name))
	recorded, err := g.db.Agree(ctx, "key/"+name, mine, keysRecorded(name, "present"))
	if err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(recorded)
	if err == nil {
		_, err = box.Open(raw, name)
	}
	if err != nil {
		return fmt.Errorf("this gateway's seal key (%s) does not open what the installation has sealed: copy it from a gateway that runs", g.conf.SealKey)
	}
	return nil
}

// agreeOnCAs compares what signs, at the start and after a rotation.
func (g *gateway) agreeOnCAs(ctx context.Context, a *ca.Authority) error {
	if g.shared == nil {
		return nil
	}
	hosts := []ssh.PublicKey{}
	for _, s := range a.OuterSigners() {
		hosts = append(hosts, s.PublicKey())
	}
	for _, k := range []struct {
		name string
		mine []string
	}{
		{"host", fingerprints(hosts)},
		{"user CA", fingerprints(a.UserCAKeys())},
		{"host CA", fingerprints(a.HostCAKeys())},
		{"database client CA", sums(a.ClientCAs())},
		{"page CA", sums(a.PageCA())},
	} {
		if err := g.agreeOn(ctx, k.name, k.mine); err != nil {
			return err
		}
	}
	return nil
}

// agreeOn compares fingerprints. While a key is being rotated there are two of
// a kind: one in common is enough, and the new one is recorded.
func (g *gateway) agreeOn(ctx context.Context, name string, mine []string) error {
	for range 3 {
		recorded, err := g.db.Agree(ctx, "key/"+name, strings.Join(mine, " "), keysRecorded(name, strings.Join(mine, " ")))
		if err != nil {
			return err
		}
		all := strings.Fields(recorded)
		missing := slices.DeleteFunc(slices.Clone(mine), func(k string) bool { return slices.Contains(all, k) })
		switch {
		case len(missing) == len(mine):
			return fmt.Errorf("this gateway's %s key is %s, and the installation's, on record in the store, is %s: copy the directory keys below data_dir from a gateway that runs (docs/several-gateways.md)",
				name, strings.Join(mine, " "), strings.Join(all, " or "))
		case len(missing) == 0:
			return nil
		}
		next := strings.Join(append(all, missing...), " ")
		if err := g.db.Record(ctx, "key/"+name, recorded, next, keysRecorded(name, next)); err == nil || !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("agree on the %s key: other gateways change it all the time", name)
}

func keysRecorded(name, value string) audit.Event {
	return audit.Event{Type: audit.KeysRecorded, Outcome: audit.Success, Actor: audit.Gateway, Detail: map[string]string{strings.ReplaceAll(name, " ", "_"): value}}
}

func fingerprints(keys []ssh.PublicKey) []string {
	var out []string
	for _, k := range keys {
		out = append(out, ssh.FingerprintSHA256(k))
	}
	return out
}

// sums are the SHA-256 of the certificates of a PEM bundle.
func sums(bundle []byte) []string {
	var out []string
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		sum := sha256.Sum256(block.Bytes)
		out = append(out, hex.EncodeToString(sum[:]))
	}
	return out
}
