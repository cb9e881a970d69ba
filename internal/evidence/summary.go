package evidence

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/session"
)

//go:embed summary.tmpl.html summary.css summary.js
var summaryFiles embed.FS

var summaryTemplate = template.Must(template.New("summary.tmpl.html").Funcs(template.FuncMap{
	"line":  func(v any) string { return display.Line(fmt.Sprint(v), 2000) },
	"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"clock": func(d time.Duration) string { return time.Unix(0, 0).UTC().Add(d).Format("15:04:05") },
	"words": words,
	"dur": func(d time.Duration) string {
		return strings.NewReplacer("h0m0s", " h", "m0s", " min", "h", " h ", "m", " min ", "s", " s").Replace(d.Round(time.Second).String())
	},
}).ParseFS(summaryFiles, "summary.tmpl.html"))

// words are names from the log, for people.
func words(s string) string {
	if w, ok := map[string]string{"totp": "authenticator app", "pg_role": "database role", "ssh_cert": "SSH certificate", "pg_token": "session token"}[s]; ok {
		return w
	}
	return strings.ReplaceAll(s, "_", " ")
}

// Player plays recordings in the summary: script and style of
// asciinema-player, which the page has too.
type Player struct {
	Script, Style []byte
}

// summary is for reading: one file that needs nothing else, the player and
// what it plays included, and that may load nothing from anywhere. Nothing
// signs it, and it says so.
func (p *Writer) summary(ctx context.Context, z *zip.Writer, m Manifest, r approval.Request, g approval.Grant, rows []session.Row, point audit.Checkpoint) error {
	d := map[string]any{"M": m, "R": r, "G": g, "Note": point.Note, "Root": point.Root.String()}
	events, err := p.told(ctx, m.Events)
	if err != nil {
		return err
	}
	d["Events"], d["Credentials"] = events, credentials(events)
	room := maxInline
	var shown []shownSession
	for _, row := range rows {
		s, err := p.shown(row, &room)
		if err != nil {
			return err
		}
		shown = append(shown, s)
	}
	d["Sessions"] = shown
	style, err := summaryFiles.ReadFile("summary.css")
	if err != nil {
		return err
	}
	script, err := summaryFiles.ReadFile("summary.js")
	if err != nil {
		return err
	}
	styles, scripts := []string{string(style)}, []string{}
	if plays := slices.ContainsFunc(shown, func(s shownSession) bool { return s.Cast != "" }); plays {
		styles, scripts = append(styles, string(p.o.Player.Style)), []string{string(p.o.Player.Script), string(script)}
	}
	d["CSP"] = policyOf(styles, scripts)
	var css []template.CSS
	var js []template.JS
	for _, s := range styles {
		css = append(css, template.CSS(s)) //nolint:gosec // our own files
	}
	for _, s := range scripts {
		if strings.Contains(strings.ToLower(s), "</script") {
			return errors.New("the player's script cannot be put into a document")
		}
		js = append(js, template.JS(s)) //nolint:gosec // our own files
	}
	d["CSS"], d["JS"] = css, js
	w, err := z.Create(summaryName)
	if err != nil {
		return err
	}
	return summaryTemplate.Execute(w, d)
}

// policyOf allows exactly these styles and scripts and no connection to
// anywhere. The player's terminal emulator is WebAssembly.
func policyOf(styles, scripts []string) string {
	hashes := func(list []string) string {
		out := ""
		for _, s := range list {
			sum := sha256.Sum256([]byte(s))
			out += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		}
		return out
	}
	csp := "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src" + hashes(styles)
	if len(scripts) > 0 {
		csp += "; script-src 'wasm-unsafe-eval'" + hashes(scripts)
	}
	return csp
}

// told are the events, as the documents tell them. The leaves are the evidence.
func (p *Writer) told(ctx context.Context, seqs []int64) ([]audit.Event, error) {
	var out []audit.Event
	for _, seq := range seqs[:min(len(seqs), maxTold)] {
		leaves, err := p.o.Store.Leaves(ctx, seq, 1)
		if err != nil {
			return nil, err
		}
		var e audit.Event
		if len(leaves) != 1 || json.Unmarshal(leaves[0].Data, &e) != nil {
			return nil, fmt.Errorf("audit event %d cannot be read", seq)
		}
		out = append(out, e)
	}
	return out, nil
}

// maxTold bounds the events that the summary lists.
const maxTold = 2000

// credential is one thing that was minted, and what became of it.
type credential struct {
	Kind, Name, Serial, Target string
	Minted                     time.Time
	Dead                       time.Time
	AfterEnd                   string // milliseconds
}

func credentials(events []audit.Event) (out []credential) {
	for _, e := range events {
		if e.Type != audit.CredentialMinted || e.Outcome != audit.Success {
			continue
		}
		c := credential{Kind: e.Detail["kind"], Name: e.Detail["name"], Serial: e.Detail["serial"], Target: e.Target, Minted: e.Time}
		for _, x := range events {
			if x.Type == audit.CredentialDead && x.Outcome == audit.Success && x.Detail["credential"] == e.Detail["credential"] && e.Detail["credential"] != "" {
				c.Dead, c.AfterEnd = x.Time, x.Detail["after_end_ms"]
			}
		}
		out = append(out, c)
	}
	return out
}
