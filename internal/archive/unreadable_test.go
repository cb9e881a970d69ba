package archive

import (
	"os"
	"path/filepath"
	"testing"

	"jit-gateway/approval/policy"
)

// Recordings that cannot be read block no other, and go when they can be.
func TestUnreadableRecordingsBlockNoOther(t *testing.T) {
	t.Parallel()
	_, o := bucketOptions(t, "")
	p := newPlace(t, policy.Recording{}, o)
	p.stop()
	var ids []string
	for _, text := range []string{"one", "two", "three", "four"} {
		ids = append(ids, p.record(text))
	}
	file := func(id string) string { return filepath.Join(p.w.Dir, "recordings", id+".jitrec") }
	bad := ids[:3] // more than may fail in a row
	for _, id := range bad {
		p.ok(os.Rename(file(id), file(id)+".aside"))
		p.ok(os.Mkdir(file(id), 0o700)) // can be opened, and not read
	}
	p.start()
	p.wait(ids[3], "stored", stored)
	for _, id := range bad {
		p.ok(os.Remove(file(id)))
		p.ok(os.Rename(file(id)+".aside", file(id)))
	}
	for _, id := range bad {
		p.wait(id, "stored", stored)
	}
}
