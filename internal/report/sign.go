package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"jit-gateway/internal/audit"
)

// A report is signed by a note (golang.org/x/mod/sumdb/note) that names its
// form, its period and the SHA-256 of all bytes before the trailer that holds
// the note:
//
//	HTML  <!-- signature, a comment behind the end of the document
//	CSV   a last record whose first cell is "signature" and whose last is the note
//	JSON  {"report":…,"signature":"…"}; the digest is of the value of report
//
// Nothing may follow the trailer.
const noteTitle = "jit-gateway access report"

var (
	htmlTrailer = []byte("<!-- signature\n")
	csvTrailer  = []byte("signature,")
	jsonHead    = []byte(`{"report":`)
	jsonTrailer = []byte(`,"signature":`)
)

// sign appends the trailer.
func (w *Writer) sign(b *bytes.Buffer, q Query, format string) error {
	content := b.Bytes()
	if format == JSON {
		content = content[len(jsonHead):]
	}
	sum := sha256.Sum256(content)
	text := fmt.Sprintf("%s\nformat %s\nfrom %s\nto %s\nsha256 %s\n", noteTitle, format, q.From.Format(time.RFC3339), q.To.Format(time.RFC3339), hex.EncodeToString(sum[:]))
	signed, err := w.o.Sign(text)
	if err != nil {
		return fmt.Errorf("sign the report: %w", err)
	}
	switch format {
	case HTML:
		b.Write(htmlTrailer)
		b.WriteString(signed + "-->\n")
	case CSV:
		b.Write(lastRow(signed))
	default:
		quoted, err := json.Marshal(signed)
		if err != nil {
			return err
		}
		b.Write(jsonTrailer)
		b.Write(quoted)
		b.WriteString("}\n")
	}
	return nil
}

// lastRow is the record that ends the CSV form.
func lastRow(signed string) []byte {
	var b bytes.Buffer
	c := csv.NewWriter(&b)
	row := make([]string, len(columns))
	row[0], row[len(row)-1] = "signature", signed
	_ = c.Write(row) // a bytes.Buffer takes everything
	c.Flush()
	return b.Bytes()
}

// Verified is what a good signature says.
type Verified struct {
	Format string `json:"format"`
	From   string `json:"from"`
	To     string `json:"to"`
	SHA256 string `json:"sha256"`
	Bytes  int    `json:"bytes"`
}

// String is a sentence.
func (v Verified) String() string {
	return fmt.Sprintf("intact: an access report (%s) from %s to %s, %d bytes, signed by the gateway's audit key", v.Format, v.From, v.To, v.Bytes)
}

// Is reports whether a file that begins like that is a report.
func Is(head []byte) bool {
	return bytes.HasPrefix(head, jsonHead) || bytes.HasPrefix(head, []byte(htmlHead)) || bytes.HasPrefix(head, []byte(columns[0]+","+columns[1]+","))
}

// Verify checks a report's signature with the audit log's public key.
func Verify(file []byte, vkey string) (Verified, error) {
	content, signed, format, err := cut(file)
	if err != nil {
		return Verified{}, err
	}
	text, err := audit.OpenText(signed, vkey)
	if err != nil {
		return Verified{}, fmt.Errorf("the report's signature: %w", err)
	}
	v := Verified{Bytes: len(content)}
	said := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(said) != 5 || said[0] != noteTitle {
		return Verified{}, errors.New("what is signed is not an access report")
	}
	for i, into := range []*string{&v.Format, &v.From, &v.To, &v.SHA256} {
		name := []string{"format ", "from ", "to ", "sha256 "}[i]
		rest, ok := strings.CutPrefix(said[i+1], name)
		if !ok {
			return Verified{}, errors.New("what is signed is not an access report")
		}
		*into = rest
	}
	sum := sha256.Sum256(content)
	if v.Format != format || v.SHA256 != hex.EncodeToString(sum[:]) {
		return Verified{}, errors.New("the report was changed after it was signed")
	}
	return v, nil
}

// cut takes a file apart into what is signed and the note.
func cut(file []byte) (content []byte, signed, format string, err error) {
	missing := errors.New("the file has no signature at its end, or something follows it")
	switch {
	case bytes.HasPrefix(file, jsonHead):
		var whole struct {
			Report    json.RawMessage `json:"report"`
			Signature string          `json:"signature"`
		}
		if err := json.Unmarshal(file, &whole); err != nil || whole.Signature == "" {
			return nil, "", "", missing
		}
		// The same bytes, and nothing else in the file: no second "report" either.
		quoted, err := json.Marshal(whole.Signature)
		if err != nil {
			return nil, "", "", err
		}
		again := bytes.Join([][]byte{jsonHead, whole.Report, jsonTrailer, quoted, []byte("}\n")}, nil)
		if !bytes.Equal(again, file) {
			return nil, "", "", missing
		}
		return whole.Report, whole.Signature, JSON, nil
	case bytes.HasPrefix(file, []byte(htmlHead)):
		i := bytes.LastIndex(file, htmlTrailer)
		if i < 0 {
			return nil, "", "", missing
		}
		rest, ok := bytes.CutSuffix(file[i+len(htmlTrailer):], []byte("-->\n"))
		if !ok {
			return nil, "", "", missing
		}
		return file[:i], string(rest), HTML, nil
	}
	i := bytes.LastIndex(file, append([]byte("\n"), csvTrailer...)) + 1
	if i == 0 {
		return nil, "", "", missing
	}
	rows, err := csv.NewReader(bytes.NewReader(file[i:])).ReadAll()
	if err != nil || len(rows) != 1 || len(rows[0]) != len(columns) {
		return nil, "", "", missing
	}
	if signed = rows[0][len(columns)-1]; !bytes.Equal(lastRow(signed), file[i:]) {
		return nil, "", "", missing
	}
	return file[:i], signed, CSV, nil
}
