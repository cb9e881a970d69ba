package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"jit-gateway/internal/evidence"
)

// verifyCmd checks an evidence pack, an access report or an exported audit log offline.
type verifyCmd struct {
	Pack    string   `arg:"" help:"Evidence pack, a zip file; an access report; or what audit export wrote." type:"existingfile"`
	Key     string   `required:"" help:"The audit log's public key: the file audit.pub, or its text."`
	Against []string `help:"Signed checkpoints that were kept outside the gateway, for an exported log." type:"existingfile"`
	JSON    bool     `help:"Print JSON."`
}

func (c verifyCmd) Run(s *io3) error {
	key := c.Key
	if b, err := os.ReadFile(c.Key); err == nil {
		key = string(b)
	}
	f, err := os.Open(c.Pack)
	if err != nil {
		return err
	}
	defer f.Close()
	if done, err := c.report(s, f, strings.TrimSpace(key)); done {
		return err
	}
	if !isZip(f) {
		return c.log(s, f, strings.TrimSpace(key))
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := evidence.Verify(f, st.Size(), strings.TrimSpace(key))
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(s.out, r)
	} else {
		_, err = fmt.Fprintln(s.out, r)
	}
	if err == nil && !r.OK() {
		return exitError(1)
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
