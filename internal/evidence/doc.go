// Package evidence makes one pack of everything that shows how a grant came
// about, was used and ended, and verifies such a pack offline.
//
// A pack is a zip: the request and the grant as documents, every audit event
// that names them or a session of theirs as the exact bytes of its leaf, a
// Merkle proof for each, the recordings, and a readable summary. What counts
// as evidence is the leaves, their proofs, and the recordings whose hashes the
// leaves hold. A proof says that an event is in the log, not that no other
// belongs to the grant: so the gateway signs a manifest, which lists what it put
// in, and Verify misses what was taken out or brought from elsewhere. The
// documents are in it by their hash, and are compared with the leaves all the
// same; the summary alone is for reading.
//
// Verify trusts one thing, the log's public key, which is given separately:
// a key inside the pack would prove nothing.
//
// Start reading at Write and Verify.
package evidence

import "time"

// Version of the pack's layout.
const Version = 1

// Names in the pack.
const (
	manifestName = "manifest.json"
	noteName     = "manifest.note" // by which the log's key vouches for the manifest
	requestName  = "request.json"
	grantName    = "grant.json"
	sessionsName = "sessions.json"
	summaryName  = "summary.html"
	readmeName   = "README.txt"
	eventsDir    = "events/"     // N.json: the leaf's bytes; N.proof: c2sp.org/tlog-proof
	recordingDir = "recordings/" // SESSION.jitrec
)

// Manifest says what the pack is of, and what belongs to it.
type Manifest struct {
	Version int       `json:"version"`
	Grant   string    `json:"grant"`
	Request string    `json:"request"`
	Gateway string    `json:"gateway"`
	Origin  string    `json:"origin"`         // of the audit log
	Site    string    `json:"site,omitempty"` // host name of the page: what passkeys sign for
	Size    int64     `json:"size"`           // of the log at the checkpoint that all proofs lead to
	Made    time.Time `json:"made"`
	Events  []int64   `json:"events"`
	// Documents has the SHA-256 of each document beside this one.
	Documents map[string]string `json:"documents"`
}
