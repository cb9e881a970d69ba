package evidence

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// Store is what a pack is made from.
type Store interface {
	audit.Log
	FindEvents(ctx context.Context, f audit.Filter) ([]audit.Event, error)
	Request(ctx context.Context, id string) (approval.Request, error)
	Grant(ctx context.Context, id string) (approval.Grant, error)
	ListSessions(ctx context.Context, f session.Filter) ([]session.Row, error)
}

// Options builds a Writer.
type Options struct {
	Store      Store
	Recordings *recording.Dir
	// Sign makes a checkpoint of the log as it is now.
	Sign func(ctx context.Context) (audit.Checkpoint, error)
	// SignText signs what belongs to a pack, with the log's key.
	SignText func(text string) (signed string, err error)
	Gateway  string
	Origin   string
	Site     string  // host name of the page, for which passkeys sign; may be empty
	Player   *Player // plays in the summary; may be nil
	Now      func() time.Time
}

// Writer makes packs.
type Writer struct{ o Options }

// New checks the options.
func New(o Options) (*Writer, error) {
	if o.Store == nil || o.Recordings == nil || o.Sign == nil || o.SignText == nil || o.Now == nil {
		return nil, errors.New("evidence: an option is missing")
	}
	return &Writer{o}, nil
}

// maxEvents of one grant in a pack.
const maxEvents = 100_000

// Write writes the grant's pack to w. Live sessions have no sealed recording
// yet; the summary says so. The caller audits that the pack was made.
func (p *Writer) Write(ctx context.Context, grantID string, w io.Writer) error {
	g, err := p.o.Store.Grant(ctx, grantID)
	if err != nil {
		return err
	}
	r, err := p.o.Store.Request(ctx, g.RequestID)
	if err != nil {
		return err
	}
	rows, err := p.o.Store.ListSessions(ctx, session.Filter{GrantID: g.ID, Limit: 10_000})
	if err != nil {
		return err
	}
	events, err := p.events(ctx, g, rows)
	if err != nil {
		return err
	}
	point, err := p.o.Sign(ctx)
	if err != nil {
		return fmt.Errorf("sign a checkpoint for the pack: %w", err)
	}
	m := Manifest{Version: Version, Grant: g.ID, Request: r.ID, Gateway: p.o.Gateway, Origin: p.o.Origin, Site: p.o.Site,
		Size: point.Size, Made: p.o.Now().UTC()}
	z := zip.NewWriter(w)
	for _, seq := range events {
		if seq >= point.Size {
			continue // came after the checkpoint
		}
		m.Events = append(m.Events, seq)
		if err := p.event(ctx, z, seq, point); err != nil {
			return err
		}
	}
	m.Documents = map[string]string{}
	for _, doc := range []struct {
		name string
		v    any
	}{{requestName, r}, {grantName, g}, {sessionsName, rows}} {
		if m.Documents[doc.name], err = addJSON(z, doc.name, doc.v); err != nil {
			return err
		}
	}
	if err := p.manifest(z, m); err != nil {
		return err
	}
	for _, row := range rows {
		if err := p.recording(z, row); err != nil {
			return err
		}
	}
	if err := p.summary(ctx, z, m, r, g, rows, point); err != nil {
		return err
	}
	if err := addText(z, readmeName, readme); err != nil {
		return err
	}
	return z.Close()
}

const readme = `Evidence for one grant of just-in-time access.

Check it offline, with the audit log's public key that you got separately:

  jit-gateway verify THIS.zip --key audit.pub

events/ holds the exact bytes of each audit event and its proof of inclusion
(c2sp.org/tlog-proof), which other implementations can check too. recordings/
holds the sealed sessions. manifest.json lists every event that belongs here and
the hashes of the other documents; manifest.note is the gateway's signature over
its SHA-256 (golang.org/x/mod/sumdb/note). summary.html is for reading: nothing
signs it.
`

// events are the numbers of every event that names the grant, its request or
// one of its sessions.
func (p *Writer) events(ctx context.Context, g approval.Grant, rows []session.Row) ([]int64, error) {
	filters := []audit.Filter{{Grant: g.ID, Limit: maxEvents}, {Request: g.RequestID, Limit: maxEvents}}
	for _, row := range rows {
		filters = append(filters, audit.Filter{Session: row.ID, Limit: maxEvents})
	}
	var seqs []int64
	for _, f := range filters {
		events, err := p.o.Store.FindEvents(ctx, f)
		if err != nil {
			return nil, err
		}
		if len(events) == maxEvents {
			return nil, fmt.Errorf("grant %s has more than %d events: a pack does not hold them", g.ID, maxEvents)
		}
		for _, e := range events {
			seqs = append(seqs, e.Seq)
		}
	}
	slices.Sort(seqs)
	return slices.Compact(seqs), nil
}

func (p *Writer) event(ctx context.Context, z *zip.Writer, seq int64, point audit.Checkpoint) error {
	leaves, err := p.o.Store.Leaves(ctx, seq, 1)
	if err != nil {
		return err
	}
	if len(leaves) != 1 || leaves[0].Seq != seq {
		return fmt.Errorf("audit event %d is missing from the store", seq)
	}
	proof, err := audit.Prove(ctx, p.o.Store, seq, point)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s%08d", eventsDir, seq)
	if err := addText(z, name+".json", string(leaves[0].Data)); err != nil {
		return err
	}
	return addText(z, name+".proof", string(proof))
}

// recording copies the sealed file. One that is missing is left out: Verify
// finds out from the events.
func (p *Writer) recording(z *zip.Writer, row session.Row) error {
	if row.State == session.Open {
		return nil
	}
	_, err := p.o.Recordings.Copy(row.ID, &entry{zip: z, name: recordingDir + row.ID + ".jitrec"})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// entry is a file of the pack that begins with its first byte: one that is
// not there leaves no trace.
type entry struct {
	zip  *zip.Writer
	name string
	w    io.Writer
}

func (e *entry) Write(b []byte) (n int, err error) {
	if e.w == nil { // recordings are compressed already
		if e.w, err = e.zip.CreateHeader(&zip.FileHeader{Name: e.name, Method: zip.Store}); err != nil {
			return 0, err
		}
	}
	return e.w.Write(b)
}

// manifest adds the list of what belongs to the pack, and its signature.
func (p *Writer) manifest(z *zip.Writer, m Manifest) error {
	hash, err := addJSON(z, manifestName, m)
	if err != nil {
		return err
	}
	signed, err := p.o.SignText(manifestText(m.Grant, hash))
	if err != nil {
		return fmt.Errorf("sign what belongs to the pack: %w", err)
	}
	return addText(z, noteName, signed)
}

// manifestText is what the log's key signs of a manifest.
func manifestText(grant, hash string) string {
	return "jit-gateway evidence pack\ngrant " + grant + "\nmanifest sha256 " + hash + "\n"
}

// addJSON adds a document, and returns the SHA-256 of its bytes.
func addJSON(z *zip.Writer, name string, v any) (hash string, err error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", name, err)
	}
	b = append(b, '\n')
	return hashOf(b), addText(z, name, string(b))
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func addText(z *zip.Writer, name, text string) error {
	w, err := z.Create(name)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}
