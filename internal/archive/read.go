package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"jit-gateway/internal/store"
	"jit-gateway/recording"
)

// openTime bounds the questions before a recording's first byte.
const openTime = 30 * time.Second

// OpenArchived implements recording.Archive: the object is read where it lies.
func (k *Keeper) OpenArchived(session string) (recording.Bytes, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	r, err := k.o.Store.Recording(ctx, session)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("session %s: %w", session, fs.ErrNotExist)
	case err != nil:
		return nil, err
	case r.Deleted():
		return nil, deleted(r)
	case r.Object == nil:
		return nil, fmt.Errorf("session %s: %w", session, fs.ErrNotExist)
	case k.o.Bucket == nil:
		return nil, fmt.Errorf("the recording of session %s is in an object store, and none is configured", session)
	}
	// Reading may take hours of somebody's replay: its end is Close.
	b, err := k.o.Bucket.Open(context.Background(), r.Object.Key, r.Object.Version)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Recording returns what is known of a sealed recording.
func (k *Keeper) Recording(ctx context.Context, session string) (store.Recording, error) {
	return k.o.Store.Recording(ctx, session)
}

// Recordings lists what is known of sealed recordings.
func (k *Keeper) Recordings(ctx context.Context, f store.RecordingFilter) ([]store.Recording, error) {
	return k.o.Store.Recordings(ctx, f)
}

func deleted(r store.Recording) *recording.Deleted {
	return &recording.Deleted{Session: r.Session, At: r.Deletion.OrderedAt, Rule: r.Rule, By: r.Deletion.ByName, Reason: r.Deletion.Reason}
}

// ListArchived implements recording.Archive.
func (k *Keeper) ListArchived() ([]recording.Info, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	var out []recording.Info
	err := k.each(ctx, store.RecordingFilter{Present: true}, func(r store.Recording) error {
		if r.Object == nil {
			return nil // in the directory, this gateway's or another's
		}
		in := recording.Info{Session: r.Session, Size: r.Size, Sealed: true}
		var a about
		if err := json.Unmarshal(r.Info, &a); err != nil {
			in.Err = fmt.Errorf("what is known of recording %s cannot be read: %w", r.Session, err)
		}
		in.Header, in.Seal = a.Header, a.Seal
		in.Seal.Hash, in.Seal.Size = r.Hash, r.Size
		out = append(out, in)
		return nil
	})
	return out, err
}
