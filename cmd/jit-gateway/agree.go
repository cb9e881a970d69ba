package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
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
	hosts := []string{}
	for _, s := range a.OuterSigners() {
		hosts = append(hosts, ssh.FingerprintSHA256(s.PublicKey()))
	}
	client, page := sha256.Sum256(a.ClientCA().Raw), sha256.Sum256(a.PageCA())
	for _, k := range []struct {
		name string
		mine []string
	}{
		{"audit log", []string{strings.ReplaceAll(strings.TrimSpace(auditKey), " ", "_")}},
		{"host", hosts},
		{"user CA", []string{ssh.FingerprintSHA256(a.UserCAKey())}},
		{"host CA", []string{ssh.FingerprintSHA256(a.HostCAKey())}},
		{"database client CA", []string{hex.EncodeToString(client[:])}},
		{"page CA", []string{hex.EncodeToString(page[:])}},
	} {
		if err := g.agreeOn(ctx, k.name, k.mine); err != nil {
			return err
		}
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
