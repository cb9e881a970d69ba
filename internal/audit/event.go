package audit

import (
	"encoding/json"
	"fmt"
	"time"
)

// An Event says that one thing changed or was refused. Events are facts for
// people outside the gateway: types and field names are stable, times are
// UTC, and no field ever holds a secret.
type Event struct {
	Seq     int64             `json:"seq"`  // leaf index in the log: gapless from 0; the store assigns it
	ID      string            `json:"id"`   // unique, for at-least-once receivers; NewEvent or the store assigns it
	Time    time.Time         `json:"time"` // UTC; the store assigns it if zero
	Type    Type              `json:"type"`
	Outcome Outcome           `json:"outcome"`
	Actor   Actor             `json:"actor"`
	User    string            `json:"user,omitempty"` // id of the User that the event is about
	Target  string            `json:"target,omitempty"`
	Request string            `json:"request,omitempty"`
	Grant   string            `json:"grant,omitempty"`
	Session string            `json:"session,omitempty"`
	Reason  string            `json:"reason,omitempty"` // what a person gave as the reason, or why it failed
	Detail  map[string]string `json:"detail,omitempty"` // per type; documented in docs/audit-events.md
}

// Actor is who did it: a user, the gateway itself, or the local administrator.
type Actor struct {
	ID     string `json:"id,omitempty"`   // User id; empty for the gateway and for strangers
	Name   string `json:"name,omitempty"` // user name, "gateway", "local-admin"
	Source string `json:"source,omitempty"`
	Via    string `json:"via,omitempty"` // ssh, postgres, web, admin.sock, gateway
}

// Gateway is the actor of what the gateway does by itself.
var Gateway = Actor{Name: "gateway", Via: "gateway"}

// Outcome of what was attempted.
type Outcome string

const (
	Success Outcome = "success"
	Failure Outcome = "failure" // it was allowed, and did not work
	Denied  Outcome = "denied"  // it was not allowed
)

// Type is a stable event name: object, dot, past participle.
type Type string

// Event types. Adding one is compatible; renaming one is not.
const (
	GatewayStarted   Type = "gateway.started"
	GatewayStopped   Type = "gateway.stopped"
	GatewayRecovered Type = "gateway.recovered"
	ConfigLoaded     Type = "config.loaded"
	Heartbeat        Type = "gateway.heartbeat"
	ClockReset       Type = "clock.reset"   // an administrator lowered the high-water mark
	KeysRecorded     Type = "keys.recorded" // the first gateway's, or after a rotation: the others are held to them
	StoreMigrated    Type = "store.migrated"

	UserAdded      Type = "user.added"
	UserUpdated    Type = "user.updated"
	UserDisabled   Type = "user.disabled"
	UserEnabled    Type = "user.enabled"
	UserInvited    Type = "user.invited"
	UserExpiring   Type = "user.expiring" // will be disabled by itself soon
	UserLinked     Type = "user.linked"   // to an identity provider's account
	InviteRedeemed Type = "invite.redeemed"
	InviteRevoked  Type = "invite.revoked"
	KeyAdded       Type = "key.added"
	KeyRemoved     Type = "key.removed"
	FactorAdded    Type = "factor.added"
	FactorRemoved  Type = "factor.removed"
	FactorRenamed  Type = "factor.renamed"
	FactorPassed   Type = "factor.passed"
	FactorFailed   Type = "factor.failed"
	FactorLocked   Type = "factor.locked"
	FactorSpent    Type = "factor.spent" // codes that may have been used are not taken again
	LoginPassed    Type = "login.passed"
	LoginFailed    Type = "login.failed"
	CommandRefused Type = "command.refused" // of the command interface: it is not for this caller
	OIDCPassed     Type = "oidc.passed"     // an identity provider vouched for somebody
	OIDCRefused    Type = "oidc.refused"    // what it said was not accepted
	GroupAdded     Type = "group.added"     // a group that a SCIM client manages
	GroupUpdated   Type = "group.updated"
	GroupRemoved   Type = "group.removed"
	SCIMRefused    Type = "scim.refused" // a SCIM client without the token, or an act that it may not do
	PageLinkMade   Type = "page.link_made"
	PageSignedIn   Type = "page.signed_in"
	PageSignedOut  Type = "page.signed_out"
	PageLinkUsed   Type = "page.link_used"

	TargetAdded   Type = "target.added"
	TargetUpdated Type = "target.updated"
	TargetRemoved Type = "target.removed"
	TargetsSynced Type = "targets.synced" // a reading of a source of targets was taken over, or refused

	RequestFiled     Type = "request.filed"
	RequestRefused   Type = "request.refused" // a rule refused it before it was filed
	RequestVoted     Type = "request.voted"   // one approval of several
	RequestApproved  Type = "request.approved"
	RequestDenied    Type = "request.denied"
	RequestWithdrawn Type = "request.withdrawn"
	RequestExpired   Type = "request.expired"
	RequestEscalated Type = "request.escalated"

	GrantActivated Type = "grant.activated"
	GrantExtended  Type = "grant.extended"
	GrantBudget    Type = "grant.budget_raised"
	GrantExpiring  Type = "grant.expiring" // it ends soon, and nobody asked for more time
	GrantReleased  Type = "grant.released"
	GrantRevoked   Type = "grant.revoked"
	GrantExpired   Type = "grant.expired"
	GrantReviewed  Type = "grant.reviewed"
	GrantFactor    Type = "grant.factor_spent"     // a rule with a factor per session: a session took it
	GrantSourceOK  Type = "grant.source_confirmed" // a fresh code allowed another source address

	SessionStarted     Type = "session.started"
	SessionRefused     Type = "session.refused"
	SessionChannel     Type = "session.channel" // one channel, request or forward: allowed or denied
	SessionWarned      Type = "session.warned"
	SessionTerminated  Type = "session.terminated"
	SessionEnded       Type = "session.ended"
	SessionCrashed     Type = "session.crashed"
	SessionWatched     Type = "session.watched"
	SessionLeft        Type = "session.left"
	CredentialIntended Type = "credential.intended" // written before anything is minted
	CredentialMinted   Type = "credential.minted"
	CredentialDead     Type = "credential.invalidated" // the after-check, with measured milliseconds
	CredentialAlive    Type = "credential.still_alive" // the after-check failed: alarm

	RecordingSegment  Type = "recording.segment" // one segment's hash as a leaf
	RecordingSealed   Type = "recording.sealed"
	RecordingViewed   Type = "recording.viewed"
	RecordingExported Type = "recording.exported"
	RecordingDeleted  Type = "recording.deleted"
	RecordingFailed   Type = "recording.failed"
	RecordingArchived Type = "recording.archived" // a verified copy is in the object store
	RecordingHeld     Type = "recording.held"     // a legal hold
	RecordingReleased Type = "recording.released" // from a legal hold
	// RecordingDeleteOrdered is the decision, before any byte is removed.
	RecordingDeleteOrdered Type = "recording.delete_ordered"

	BackupMade      Type = "backup.made"
	GatewayRestored Type = "gateway.restored" // from a backup; what it ended follows
	LogCompared     Type = "audit.compared"   // a restored log with a copy kept outside

	AuditRead         Type = "audit.read"
	EvidenceExported  Type = "evidence.exported"
	FindingRaised     Type = "finding.raised"
	FindingAcked      Type = "finding.acknowledged"
	TokenMinted       Type = "token.minted"
	TokenStopped      Type = "token.stopped"
	NotificationSent  Type = "notification.sent"
	NotificationLost  Type = "notification.failed"
	CARotated         Type = "ca.rotated"
	AdminActRequested Type = "admin.requested" // waits for a second administrator
	AdminActConfirmed Type = "admin.confirmed"
)

// Encode returns the bytes of e that become the leaf of the log: JSON with
// the field order above and sorted Detail keys. Receivers hash these bytes,
// never a re-encoding.
func Encode(e Event) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode audit event %s: %w", e.Type, err)
	}
	return b, nil
}
