package world

import (
	"bytes"
	"errors"
	"os"

	"jit-gateway/recording"
)

// Warm makes what is shared by the whole process (the zstd coders with their
// channels) outside any bubble: call it in TestMain of tests that use
// testing/synctest, because channels that are made in a bubble belong to it.
func Warm() error {
	path, err := os.MkdirTemp("", "jit-warm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(path)
	d, err := recording.OpenDir(path, recording.DirOptions{Reserve: -1})
	if err != nil {
		return err
	}
	w, err := d.Create(recording.Header{Session: "SWARM"}, recording.Options{})
	if err != nil {
		return err
	}
	// Two chunks: one full, for the fast coder, one short, for the careful one.
	text := bytes.Repeat([]byte("the coders are made at the first use "), 10_000)
	err = w.Output(0, 1, text)
	flushErr := w.Flush()
	lastErr := w.Output(0, 1, text[:1000])
	_, sealErr := w.Seal("logout")
	if err = errors.Join(err, flushErr, lastErr, sealErr); err != nil {
		return err
	}
	r, err := d.Open("SWARM")
	if err != nil {
		return err
	}
	defer r.Close()
	for _, err := range r.Events() {
		if err != nil {
			return err
		}
	}
	return nil
}
