package recording

import "time"

// Kind of an event. The names are in the file: adding one is compatible,
// renaming one is not.
type Kind string

// Kinds of event.
const (
	KindOutput      Kind = "o" // Data of Stream: 1 stdout (or the terminal), 2 stderr
	KindInput       Kind = "i" // Data typed or piped by the client
	KindResize      Kind = "resize"
	KindOpen        Kind = "open"  // a channel begins
	KindClose       Kind = "close" // and ends
	KindShell       Kind = "shell"
	KindExec        Kind = "exec"
	KindEnv         Kind = "env"
	KindSignal      Kind = "signal"
	KindExit        Kind = "exit"
	KindSFTP        Kind = "sftp"
	KindFile        Kind = "file" // one whole file that scp or sftp moved
	KindForward     Kind = "forward"
	KindSQL         Kind = "sql"
	KindMarker      Kind = "marker"
	KindNotice      Kind = "notice" // what the gateway itself told the user
	KindTermination Kind = "termination"
	KindViewer      Kind = "viewer"
	KindBulk        Kind = "bulk"   // stands for data that was not kept: size and hash
	KindScreen      Kind = "screen" // in snapshots and live views: Data redraws the channel's whole screen
)

// An Event is one thing that happened. Data is the raw bytes of output, input
// and screens; everything else is in Payload.
//
// Writer methods copy what they keep: Data and Payload may be reused after
// they return. Events from a Reader or Watch belong to the receiver.
type Event struct {
	T       time.Duration `json:"t"` // since the start; writers set it, callers of Writer.Event leave it zero
	Kind    Kind          `json:"kind"`
	Channel uint32        `json:"channel,omitempty"`
	Stream  byte          `json:"stream,omitempty"` // of output: 1 or 2
	Data    []byte        `json:"data,omitempty"`
	Payload Payload       `json:"payload,omitempty"`
}

// A Payload is the typed content of an event. Strings in it may be any bytes:
// what is not UTF-8 survives writing and reading.
type Payload interface {
	Kind() Kind
}

// Resize is a terminal's size; the first one of a channel says it has a terminal.
type Resize struct {
	Cols uint32 `json:"cols"`
	Rows uint32 `json:"rows"`
}

// Open begins a channel.
type Open struct {
	Type string `json:"type"` // session, direct-tcpip, forwarded-tcpip, direct-streamlocal, backend, …
	Term string `json:"term,omitempty"`
}

// Close ends a channel.
type Close struct {
	In  int64 `json:"in,omitempty"` // bytes
	Out int64 `json:"out,omitempty"`
}

// Shell is an interactive shell's start.
type Shell struct{}

// Exec is a command without a shell of its own, or a subsystem.
type Exec struct {
	Command   string `json:"command"`
	Subsystem bool   `json:"subsystem,omitempty"`
	PTY       bool   `json:"pty,omitempty"`
}

// Env is one variable that the client asked to set.
type Env struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Refused bool   `json:"refused,omitempty"`
}

// Signal is one that the client sent.
type Signal struct {
	Name string `json:"name"`
}

// Exit is how a channel's command ended.
type Exit struct {
	Status  int    `json:"status"`
	Signal  string `json:"signal,omitempty"`
	Message string `json:"message,omitempty"`
}

// SFTP is one operation, with the server's answer.
type SFTP struct {
	Op     string `json:"op"` // open, read, write, close, remove, rename, mkdir, …
	Path   string `json:"path,omitempty"`
	To     string `json:"to,omitempty"` // of rename, symlink, link
	Flags  string `json:"flags,omitempty"`
	Mode   string `json:"mode,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // hex, of what was read or written in order
	Result string `json:"result,omitempty"` // ok, or the server's status in words
	Denied bool   `json:"denied,omitempty"` // by a rule, before it was forwarded
}

// File is one whole file that scp or sftp moved.
type File struct {
	Via       string `json:"via"`       // scp, sftp
	Direction string `json:"direction"` // upload, download
	Path      string `json:"path"`
	Mode      string `json:"mode,omitempty"`
	Bytes     int64  `json:"bytes"`
	SHA256    string `json:"sha256,omitempty"`
	Partial   bool   `json:"partial,omitempty"` // not the whole file, or not in order: no hash
	Result    string `json:"result,omitempty"`
}

// Forward is one forwarded connection, when it opens and again when it ends.
type Forward struct {
	Type   string `json:"type"` // local, remote, dynamic, stream, agent
	Dest   string `json:"dest"`
	Origin string `json:"origin,omitempty"`
	In     int64  `json:"in,omitempty"` // bytes towards Dest
	Out    int64  `json:"out,omitempty"`
	Ended  bool   `json:"ended,omitempty"`
	Result string `json:"result,omitempty"`
	Denied bool   `json:"denied,omitempty"`
}

// Param is one bind value.
type Param struct {
	Type     uint32 `json:"type,omitempty"` // OID, if known
	Null     bool   `json:"null,omitempty"`
	Text     string `json:"text,omitempty"`
	Binary   []byte `json:"binary,omitempty"` // a value in the binary format that the gateway cannot show as text
	Redacted bool   `json:"redacted,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"` // true length, where Text or Binary was cut
}

// SQL is one statement, or its outcome. What a statement says is recorded
// before it is forwarded (G2), so its outcome is an event of its own: Op
// "result", with the Seq of the statement that it belongs to. Several
// results may share a Seq, one for each statement of a simple query.
type SQL struct {
	Op        string        `json:"op,omitempty"`  // query (simple), parse, bind, execute, function, cancel, refused; result
	Seq       int64         `json:"seq,omitempty"` // number of the statement in its session, from 1
	Statement string        `json:"statement,omitempty"`
	Name      string        `json:"name,omitempty"`   // prepared statement
	Portal    string        `json:"portal,omitempty"` // where it is not the unnamed one
	Params    []Param       `json:"params,omitempty"`
	Tag       string        `json:"tag,omitempty"` // command tag: "UPDATE 3"
	Rows      int64         `json:"rows,omitempty"`
	Bytes     int64         `json:"bytes,omitempty"` // of rows or COPY data
	SHA256    string        `json:"sha256,omitempty"`
	SQLSTATE  string        `json:"sqlstate,omitempty"`
	Error     string        `json:"error,omitempty"`
	Duration  time.Duration `json:"duration,omitempty"`
	TxStatus  string        `json:"tx,omitempty"` // I, T, E
	Redacted  bool          `json:"redacted,omitempty"`
	Full      int64         `json:"full,omitempty"` // true length of Statement in bytes, where it was cut
	Started   time.Duration `json:"started,omitempty"`
}

// Marker is a moment that somebody named.
type Marker struct {
	Text string `json:"text"`
	By   string `json:"by,omitempty"`
}

// Notice is what the gateway itself told the user: a warning, a question.
type Notice struct {
	Text string `json:"text"`
}

// Termination is why the gateway ended the session.
type Termination struct {
	Cause  string `json:"cause"`
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
}

// Viewer joined or left a live view.
type Viewer struct {
	Name   string `json:"name"`
	Joined bool   `json:"joined"`
}

// Bulk stands for data that a rule records as size and hash only.
type Bulk struct {
	Stream byte   `json:"stream,omitempty"` // 0 input, 1 stdout, 2 stderr
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Why    string `json:"why,omitempty"`
}

// Screen is a whole screen: Data redraws it on an empty terminal of that size.
type Screen struct {
	Cols uint32 `json:"cols"`
	Rows uint32 `json:"rows"`
}

func (Resize) Kind() Kind      { return KindResize }
func (Open) Kind() Kind        { return KindOpen }
func (Close) Kind() Kind       { return KindClose }
func (Shell) Kind() Kind       { return KindShell }
func (Exec) Kind() Kind        { return KindExec }
func (Env) Kind() Kind         { return KindEnv }
func (Signal) Kind() Kind      { return KindSignal }
func (Exit) Kind() Kind        { return KindExit }
func (SFTP) Kind() Kind        { return KindSFTP }
func (File) Kind() Kind        { return KindFile }
func (Forward) Kind() Kind     { return KindForward }
func (SQL) Kind() Kind         { return KindSQL }
func (Marker) Kind() Kind      { return KindMarker }
func (Notice) Kind() Kind      { return KindNotice }
func (Termination) Kind() Kind { return KindTermination }
func (Viewer) Kind() Kind      { return KindViewer }
func (Bulk) Kind() Kind        { return KindBulk }
func (Screen) Kind() Kind      { return KindScreen }
