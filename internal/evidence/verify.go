package evidence

import (
	"archive/zip"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/recording"
)

// Limits of what Verify reads: a pack comes from outside.
const (
	maxFiles     = 250_000
	maxDocument  = 16 << 20
	maxRecording = 16 << 30
)

// Finding is one thing that Verify looked at.
type Finding struct {
	OK   bool   `json:"ok"`
	What string `json:"what"`
}

// Result of a verification.
type Result struct {
	Findings []Finding `json:"findings"`
	Limits   []string  `json:"limits"` // what the pack does not prove
}

// OK reports whether everything holds.
func (r Result) OK() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.OK })
}

// String is the result for people, a line each.
func (r Result) String() string {
	var b strings.Builder
	for _, f := range r.Findings {
		mark := "ok    "
		if !f.OK {
			mark = "FAILED"
		}
		fmt.Fprintf(&b, "%s  %s\n", mark, display.Line(f.What, 1000))
	}
	if r.OK() {
		b.WriteString("\nThe pack is what the log says. It does not prove:\n")
	} else {
		b.WriteString("\nThe pack does NOT hold. Whatever holds does not prove:\n")
	}
	for _, l := range r.Limits {
		fmt.Fprintf(&b, "  - %s\n", l)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var limits = []string{
	"that the log was not rewritten as a whole by whoever holds its key: compare a checkpoint that was kept outside",
	"that nothing happened which the gateway did not write down, such as what a user left behind on the target",
	"anything after the moment that the pack was made",
	"who held the key and the authenticator of an account",
	"what summary.html says: it is for reading, and nothing signs it",
}

// pack is an opened zip, its events proved.
type pack struct {
	zip    *zip.Reader
	files  map[string]*zip.File
	events []audit.Event
	size   int64
	res    Result
}

// Verify checks a pack against the log's public key (vkey, as in audit.pub).
// The error is for packs that cannot be read at all; everything else is in
// the Result.
func Verify(r io.ReaderAt, size int64, vkey string) (Result, error) {
	if _, err := audit.NewVerifier(vkey); err != nil {
		return Result{}, err
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return Result{}, fmt.Errorf("read the pack: %w", err)
	}
	if len(z.File) > maxFiles {
		return Result{}, fmt.Errorf("the pack has %d files, at most %d are read", len(z.File), maxFiles)
	}
	p := &pack{zip: z, files: map[string]*zip.File{}, res: Result{Limits: limits}}
	for _, f := range z.File {
		if _, dup := p.files[f.Name]; dup {
			return Result{}, fmt.Errorf("the pack holds %q twice", f.Name)
		}
		p.files[f.Name] = f
	}
	var m Manifest
	if err := p.document(manifestName, &m); err != nil {
		return Result{}, err
	}
	if m.Version != Version {
		return Result{}, fmt.Errorf("the pack has version %d; this program reads version %d", m.Version, Version)
	}
	p.proofs(vkey)
	p.belongs(m, vkey)
	p.chain(m)
	p.recordings()
	p.papers()
	return p.res, nil
}

// papers: what is only for reading is at least whole, and nothing lies in the
// pack that does not belong there.
func (p *pack) papers() {
	for name, f := range p.files {
		switch {
		case name == summaryName, name == readmeName:
			rc, err := f.Open()
			if err == nil {
				_, err = io.Copy(io.Discard, io.LimitReader(rc, maxRecording))
				rc.Close()
			}
			if err != nil {
				p.check(false, "%s is damaged: %v", name, err)
			}
		case name == manifestName, name == noteName, name == requestName, name == grantName, name == sessionsName, strings.HasPrefix(name, eventsDir), strings.HasPrefix(name, recordingDir):
		default:
			p.check(false, "%q is in the pack and belongs to none", name)
		}
	}
}

func (p *pack) check(ok bool, format string, args ...any) bool {
	p.res.Findings = append(p.res.Findings, Finding{ok, fmt.Sprintf(format, args...)})
	return ok
}

func (p *pack) read(name string, limit int64) ([]byte, error) {
	f, ok := p.files[name]
	if !ok {
		return nil, fmt.Errorf("the pack has no %s", name)
	}
	rc, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer rc.Close()
	b, err := io.ReadAll(io.LimitReader(rc, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return b, nil
}

func (p *pack) document(name string, v any) error {
	b, err := p.read(name, maxDocument)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// proofs checks every event, and keeps those that are proved. All proofs lead
// to one checkpoint.
func (p *pack) proofs(vkey string) {
	var point audit.Checkpoint
	bad := 0
	for _, f := range p.zip.File {
		base, ok := strings.CutSuffix(f.Name, ".json")
		if !ok || !strings.HasPrefix(f.Name, eventsDir) {
			continue
		}
		e, c, err := p.proved(base, vkey)
		if err == nil && point.Size != 0 && (c.Size != point.Size || c.Root != point.Root) {
			err = errors.New("its proof leads to another checkpoint than the others")
		}
		if err != nil {
			if bad++; bad <= 10 {
				p.check(false, "event %s: %v", path.Base(base), err)
			}
			continue
		}
		point = c
		p.events = append(p.events, e)
	}
	slices.SortFunc(p.events, func(a, b audit.Event) int { return int(a.Seq - b.Seq) })
	p.size = point.Size
	if bad > 10 {
		p.check(false, "and %d events more", bad-10)
	}
	if p.check(len(p.events) > 0, "%d audit events are in the log of %d events that the key signed", len(p.events), point.Size) {
		p.check(true, "the log's root is %s", point.Root)
	}
}

func (p *pack) proved(base, vkey string) (e audit.Event, c audit.Checkpoint, err error) {
	leaf, err := p.read(base+".json", maxDocument)
	if err != nil {
		return e, c, err
	}
	proof, err := p.read(base+".proof", maxDocument)
	if err != nil {
		return e, c, err
	}
	seq, c, err := audit.CheckProof(proof, leaf, vkey)
	if err != nil {
		return e, c, err
	}
	if err := json.Unmarshal(leaf, &e); err != nil {
		return e, c, fmt.Errorf("is proved, but is no event: %w", err)
	}
	if e.Seq != seq || path.Base(base) != fmt.Sprintf("%08d", seq) {
		return e, c, fmt.Errorf("is number %d in the log and calls itself %d", seq, e.Seq)
	}
	return e, c, nil
}

// find returns the proved events of the types.
func (p *pack) find(types ...audit.Type) (out []audit.Event) {
	for _, e := range p.events {
		if slices.Contains(types, e.Type) && e.Outcome == audit.Success {
			out = append(out, e)
		}
	}
	return out
}

// recordings: each sealed event has its file, and each file its event.
func (p *pack) recordings() {
	sealed := p.find(audit.RecordingSealed)
	for _, e := range sealed {
		name := recordingDir + e.Session + ".jitrec"
		if _, ok := p.files[name]; !ok {
			if gone, ok := p.deleted(e.Session); ok {
				p.check(true, "the recording of session %s was deleted on %s under rule %q by %s: %s", e.Session,
					gone.Time.UTC().Format("2006-01-02 15:04:05 UTC"), gone.Detail["rule"], cmp.Or(gone.Detail["by"], gone.Actor.Name), gone.Reason)
				continue
			}
			p.check(false, "the recording of session %s is missing: the log has its seal %.16s…", e.Session, e.Detail["hash"])
			continue
		}
		if err := p.recording(name, e); err != nil {
			p.check(false, "the recording of session %s: %v", e.Session, err)
			continue
		}
		p.check(true, "the recording of session %s is the sealed one (%.16s…)", e.Session, e.Detail["hash"])
	}
	for name := range p.files {
		id, ok := strings.CutPrefix(name, recordingDir)
		id, isRecording := strings.CutSuffix(id, ".jitrec")
		if ok && isRecording && !slices.ContainsFunc(sealed, func(e audit.Event) bool { return e.Session == id }) {
			p.check(false, "recording %s is in the pack, and the log has no seal of it", id)
		}
	}
}

// deleted finds the proved decision to delete a session's recording.
func (p *pack) deleted(session string) (audit.Event, bool) {
	for _, e := range p.find(audit.RecordingDeleteOrdered) {
		if e.Session == session {
			return e, true
		}
	}
	return audit.Event{}, false
}

func (p *pack) recording(name string, e audit.Event) error {
	f, err := p.spool(name)
	if err != nil {
		return err
	}
	defer f.remove()
	r, err := recording.NewReader(f, f.size)
	if err != nil {
		return err
	}
	report := r.Verify()
	if !report.OK {
		return errors.New(strings.Join(strings.Fields(report.String()), " "))
	}
	seal, ok := r.Sealed()
	if !ok || seal.Hash != e.Detail["hash"] {
		return fmt.Errorf("its seal is %.16s…, the log has %.16s…", seal.Hash, e.Detail["hash"])
	}
	if r.Header().Session != e.Session {
		return fmt.Errorf("it is of session %s", display.Line(r.Header().Session, 40))
	}
	return nil
}
