package recording

import "strings"

// Doing is the last statement or command of the session, in full or its
// beginning: for lists of what goes on now. It is empty for a recording that
// is encrypted.
func (w *Writer) Doing() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doing
}

// Viewers are the names of those who watch now.
func (w *Writer) Viewers() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, v := range append(w.pending[:len(w.pending):len(w.pending)], w.watches...) {
		out = append(out, v.name)
	}
	return out
}

// maxDoing bounds what a quiet session keeps in memory of its last statement.
const maxDoing = 1 << 10

// noteDoing takes note of what the event says is being done. Called with mu held.
func (w *Writer) noteDoing(ev *Event) {
	if w.to != nil {
		return
	}
	text := ""
	switch p := ev.Payload.(type) {
	case *SQL:
		if p.Op != "result" {
			text = p.Statement
		}
	case SQL:
		if p.Op != "result" {
			text = p.Statement
		}
	case Exec:
		text = p.Command
	case SFTP:
		text = "sftp " + p.Op + " " + p.Path
	}
	if len(text) > maxDoing {
		text = strings.Clone(clip(text, maxDoing)) + " …"
	}
	if text != "" {
		w.doing = text
	}
}
