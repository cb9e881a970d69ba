package recording

import "fmt"

// payload appends the members of p. Both a value and a pointer will do.
func (o *object) payload(p Payload) error {
	switch p := p.(type) {
	case *SQL: // first: the hot one
		o.sql(p)
	case SQL:
		o.sql(&p)
	case Resize:
		o.num("cols", int64(p.Cols))
		o.num("rows", int64(p.Rows))
	case Screen:
		o.num("cols", int64(p.Cols))
		o.num("rows", int64(p.Rows))
	case Open:
		o.str("type", p.Type)
		o.str("term", p.Term)
	case Close:
		o.num("in", p.In)
		o.num("out", p.Out)
	case Shell:
	case Exec:
		o.str("command", p.Command)
		o.yes("subsystem", p.Subsystem)
		o.yes("pty", p.PTY)
	case Env:
		o.str("name", p.Name)
		o.str("value", p.Value)
		o.yes("refused", p.Refused)
	case Signal:
		o.str("name", p.Name)
	case Exit:
		o.num("status", int64(p.Status))
		o.str("signal", p.Signal)
		o.str("message", p.Message)
	case *SFTP:
		o.sftp(p)
	case SFTP:
		o.sftp(&p)
	case *File:
		o.file(p)
	case File:
		o.file(&p)
	case Forward:
		o.str("type", p.Type)
		o.str("dest", p.Dest)
		o.str("origin", p.Origin)
		o.num("in", p.In)
		o.num("out", p.Out)
		o.yes("ended", p.Ended)
		o.str("result", p.Result)
		o.yes("denied", p.Denied)
	case Marker:
		o.str("text", p.Text)
		o.str("by", p.By)
	case Notice:
		o.str("text", p.Text)
	case Termination:
		o.str("cause", p.Cause)
		o.str("reason", p.Reason)
		o.str("by", p.By)
	case Viewer:
		o.str("name", p.Name)
		o.yes("joined", p.Joined)
	case Bulk:
		o.num("stream", int64(p.Stream))
		o.num("bytes", p.Bytes)
		o.str("sha256", p.SHA256)
		o.str("why", p.Why)
	default:
		return fmt.Errorf("a payload of type %T cannot be recorded; pass the struct by value", p)
	}
	return nil
}

func (o *object) sftp(p *SFTP) {
	o.str("op", p.Op)
	o.str("path", p.Path)
	o.str("to", p.To)
	o.str("flags", p.Flags)
	o.str("mode", p.Mode)
	o.num("bytes", p.Bytes)
	o.str("sha256", p.SHA256)
	o.str("result", p.Result)
	o.yes("denied", p.Denied)
}

func (o *object) file(p *File) {
	o.str("via", p.Via)
	o.str("direction", p.Direction)
	o.str("path", p.Path)
	o.str("mode", p.Mode)
	o.num("bytes", p.Bytes)
	o.str("sha256", p.SHA256)
	o.yes("partial", p.Partial)
	o.str("result", p.Result)
}

// maxParams bounds the bytes of all bind values of one event together: what
// goes beyond keeps its true length in Bytes alone.
const maxParams = 1 << 20

func (o *object) sql(p *SQL) {
	o.str("op", p.Op)
	o.num("seq", p.Seq)
	o.str("statement", p.Statement)
	if full := p.Full; full != 0 || len(p.Statement) > maxString {
		o.num("full", max(full, int64(len(p.Statement))))
	}
	o.str("name", p.Name)
	o.str("portal", p.Portal)
	if len(p.Params) > 0 {
		o.key("params")
		o.b = append(o.b, '[')
		left := maxParams
		for i := range p.Params {
			if i > 0 {
				o.b = append(o.b, ',')
			}
			o.param(&p.Params[i], &left)
		}
		o.b = append(o.b, ']')
	}
	o.str("tag", p.Tag)
	o.num("rows", p.Rows)
	o.num("bytes", p.Bytes)
	o.str("sha256", p.SHA256)
	o.str("sqlstate", p.SQLSTATE)
	o.str("error", p.Error)
	o.num("duration", int64(p.Duration))
	o.num("started", int64(p.Started))
	o.str("tx", p.TxStatus)
	o.yes("redacted", p.Redacted)
}

func (o *object) param(p *Param, left *int) {
	text, bin, size := p.Text, p.Binary, p.Bytes
	if n := len(text) + len(bin); n > *left {
		size = max(size, int64(n))
		text, bin = clip(text, *left), bin[:min(len(bin), *left)]
	}
	*left -= len(text) + len(bin)
	in := object{b: append(o.b, '{')}
	in.num("type", int64(p.Type))
	in.yes("null", p.Null)
	in.str("text", text)
	in.bytes("binary", bin)
	in.yes("redacted", p.Redacted)
	in.num("bytes", size)
	o.b = append(in.b, '}')
}
