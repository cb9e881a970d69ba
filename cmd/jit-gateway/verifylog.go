package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
)

// isZip reports whether the file begins as a zip file does.
func isZip(f *os.File) bool {
	magic := make([]byte, 2)
	n, err := f.ReadAt(magic, 0)
	return err == nil && n == len(magic) && string(magic) == "PK"
}

// log verifies an exported audit log.
func (c verifyCmd) log(s *io3, f io.Reader, key string) error {
	var o audit.VerifyOptions
	for _, name := range c.Against {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := audit.OpenCheckpoint(string(b), key); err != nil {
			return fmt.Errorf("--against %s is no checkpoint of this log, as `audit checkpoint` writes it: %s", name, display.Line(err.Error(), 300))
		}
		o.Against = append(o.Against, string(b))
	}
	r, err := audit.Verify(context.Background(), audit.File{R: f}, key, o)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		_, err = fmt.Fprintln(s.out, display.Line(r.String(), 2000))
	}
	if err == nil && !r.Intact() {
		return exitError(1)
	}
	return err
}
