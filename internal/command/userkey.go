package command

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/identity"
)

type userKeyCmd struct {
	Name   string `arg:"" help:"User."`
	Add    string `help:"Add a public key; - reads it from stdin." placeholder:"KEY" xor:"what"`
	Remove string `help:"Remove a key; its connections end now." placeholder:"SHA256:…" xor:"what"`
}

func (k *userKeyCmd) Run(c *call) error {
	u, err := c.findUser(k.Name)
	if err != nil {
		return err
	}
	switch {
	case k.Add != "":
		key, err := c.keyArg(k.Add)
		if err != nil {
			return err
		}
		return c.do(change{User: u.ID, Key: keyLine(key)}, fmt.Sprintf("register the key %s for %s", ssh.FingerprintSHA256(key), u.Name))
	case k.Remove != "":
		return c.dropKey(u, k.Remove)
	}
	keys, err := c.r.o.Users.Keys(c.ctx, u.ID)
	if err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(append([]identity.Key{}, keys...))
	}
	t := newTable("KEY", "TYPE", "SINCE")
	for _, key := range keys {
		typ, _, _ := strings.Cut(key.Authorized, " ")
		t.row(key.Fingerprint, typ, key.CreatedAt.UTC().Format(time.DateOnly))
	}
	return c.table(t)
}

// keyArg reads a key from the argument or, for "-", from stdin.
func (c *call) keyArg(arg string) (ssh.PublicKey, error) {
	raw := []byte(arg)
	switch arg {
	case "":
		return nil, nil
	case "-":
		var err error
		if raw, err = c.readAll(16<<10, "A public key"); err != nil {
			return nil, err
		}
	}
	return parseKey(raw)
}
