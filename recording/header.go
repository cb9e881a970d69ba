package recording

import "time"

// Version of the container that this package writes.
const Version = 1

// Header says whose session it is. It is written in clear, hashed into every
// segment, and durable before Create returns. It must hold nothing that an
// encryption rule hides: no command line, statement or path.
type Header struct {
	Version  int    `json:"version"` // set by Create
	Session  string `json:"session"`
	Grant    string `json:"grant,omitempty"`
	Request  string `json:"request,omitempty"`
	UserID   string `json:"user_id,omitempty"`
	User     string `json:"user,omitempty"`
	Target   string `json:"target,omitempty"`
	Kind     string `json:"kind,omitempty"` // of the target: ssh, postgres
	Login    string `json:"login,omitempty"`
	Protocol string `json:"protocol,omitempty"` // ssh, postgres
	Source   string `json:"source,omitempty"`
	Client   string `json:"client,omitempty"` // client software as it named itself
	Gateway  string `json:"gateway,omitempty"`
	Rule     string `json:"rule,omitempty"`

	Start   time.Time `json:"start"`             // set by Create if zero
	Strict  bool      `json:"strict,omitempty"`  // set by Create from Options
	Input   bool      `json:"input,omitempty"`   // pty input is recorded too
	Content bool      `json:"content,omitempty"` // file contents and long outputs are recorded, not only their hashes
	Index   string    `json:"index,omitempty"`   // off, metadata, full: what search may hold; set by Create from Options

	Nonce      string      `json:"nonce"`                // 16 random bytes in hex, set by Create: checksums are seeded with it
	Encryption *Encryption `json:"encryption,omitempty"` // set by Create from Options.Recipients
}

// Encryption is what an encrypted recording's header commits to: the public
// half of the recording's own key, and for whom it was wrapped at the start.
type Encryption struct {
	Scheme     string   `json:"scheme"`     // "age/aes-256-gcm"
	Key        string   `json:"key"`        // age recipient of this recording alone
	Recipients []string `json:"recipients"` // the original ones; more can be added later
}

// Encrypted reports whether the events can only be read with an identity.
func (h Header) Encrypted() bool { return h.Encryption != nil }

// Index levels: what the search index may hold of a recording.
const (
	IndexOff      = "off"
	IndexMetadata = "metadata"
	IndexFull     = "full"
)

// SegmentInfo names one closed segment. Its hash becomes a leaf of the audit
// log, so that a missing tail or recording can be proved.
type SegmentInfo struct {
	Session string        `json:"session"`
	Index   int           `json:"index"`
	Offset  int64         `json:"offset"`
	Length  int64         `json:"length"`
	From    time.Duration `json:"from"` // time of the first event since the start
	To      time.Duration `json:"to"`   // time of the last one
	Events  int64         `json:"events"`
	Raw     int64         `json:"raw"`  // bytes of events before compression
	Hash    string        `json:"hash"` // hex SHA-256, chained over the previous one
}

// Seal is what the footer says of a finished recording.
type Seal struct {
	Session   string        `json:"session"`
	Outcome   string        `json:"outcome"` // logout, expired, …, crashed
	Ended     time.Time     `json:"ended"`
	Duration  time.Duration `json:"duration"` // of the last event
	Segments  int           `json:"segments"`
	Events    int64         `json:"events"`
	Raw       int64         `json:"raw"`
	Root      string        `json:"root"` // hash of the last segment, or of the header when there is none
	Recovered bool          `json:"recovered,omitempty"`

	Hash string `json:"-"` // SHA-256 of the footer; what the audit log keeps
	Size int64  `json:"-"` // of the file
}
