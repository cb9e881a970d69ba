package sink

import (
	"strings"

	"jit-gateway/internal/audit"
)

// ocsfVersion of the schema that the mapping follows.
const ocsfVersion = "1.8.0"

// class is one OCSF event class: its id, its category, and the activity that
// an event type stands for.
type class struct {
	uid, category, activity int
}

// OCSF classes (https://schema.ocsf.io/1.8.0/classes). Activity 99 is
// "Other", named by activity_name.
var (
	accountChange  = func(a int) class { return class{3001, 3, a} }
	authentication = func(a int) class { return class{3002, 3, a} }
	authorize      = func(a int) class { return class{3003, 3, a} }
	entity         = func(a int) class { return class{3004, 3, a} }
	userAccess     = func(a int) class { return class{3005, 3, a} }
	finding        = func(a int) class { return class{2004, 2, a} }
	sshActivity    = func(a int) class { return class{4007, 4, a} }
	apiActivity    = func(a int) class { return class{6003, 6, a} }
	lifecycle      = func(a int) class { return class{6002, 6, a} }
	datastore      = func(a int) class { return class{6005, 6, a} }
)

// classes maps every event type; a test holds it complete.
var classes = map[audit.Type]class{
	audit.GatewayStarted: lifecycle(3), audit.GatewayStopped: lifecycle(4), audit.GatewayRecovered: lifecycle(99),
	audit.ConfigLoaded: lifecycle(99), audit.Heartbeat: lifecycle(99), audit.ClockReset: lifecycle(99), audit.KeysRecorded: lifecycle(99), audit.StoreMigrated: lifecycle(99), audit.CARotated: lifecycle(99),

	audit.UserAdded: accountChange(1), audit.UserUpdated: accountChange(99), audit.UserDisabled: accountChange(5),
	audit.UserEnabled: accountChange(2), audit.UserInvited: accountChange(99), audit.KeyAdded: accountChange(99),
	audit.KeyRemoved: accountChange(99), audit.FactorAdded: accountChange(10), audit.FactorRemoved: accountChange(11), audit.FactorRenamed: accountChange(99),
	audit.FactorLocked: accountChange(9),

	audit.UserExpiring: accountChange(99), audit.UserLinked: accountChange(99),
	audit.GroupAdded: entity(1), audit.GroupUpdated: entity(3), audit.GroupRemoved: entity(4), audit.SCIMRefused: apiActivity(99),
	audit.OIDCPassed: authentication(1), audit.OIDCRefused: authentication(1),

	audit.FactorPassed: authentication(99), audit.FactorFailed: authentication(99), audit.LoginPassed: authentication(1),
	audit.LoginFailed: authentication(1), audit.CommandRefused: authentication(99), audit.PageLinkMade: authentication(99), audit.PageLinkUsed: authentication(99), audit.PageSignedIn: authentication(1), audit.PageSignedOut: authentication(2),

	audit.TargetAdded: entity(1), audit.TargetUpdated: entity(3), audit.TargetRemoved: entity(4), audit.TargetsSynced: entity(3),
	audit.RequestFiled: entity(1), audit.RequestRefused: entity(99), audit.RequestVoted: entity(3), audit.RequestApproved: entity(99),
	audit.RequestDenied: entity(99), audit.RequestWithdrawn: entity(99), audit.RequestExpired: entity(99), audit.RequestEscalated: entity(99),
	audit.AdminActRequested: entity(1), audit.AdminActConfirmed: entity(99),

	audit.GrantActivated: userAccess(1), audit.GrantExtended: userAccess(1), audit.GrantBudget: userAccess(1), audit.GrantReleased: userAccess(2),
	audit.GrantRevoked: userAccess(2), audit.GrantExpired: userAccess(2), audit.GrantReviewed: userAccess(99), audit.GrantExpiring: userAccess(99), audit.GrantSourceOK: userAccess(99),

	audit.SessionStarted: sshActivity(1), audit.SessionRefused: sshActivity(5), audit.SessionChannel: sshActivity(6),
	audit.SessionWarned: sshActivity(6), audit.SessionTerminated: sshActivity(3), audit.SessionEnded: sshActivity(2), audit.SessionCrashed: sshActivity(4),
	audit.SessionWatched: apiActivity(2), audit.SessionLeft: apiActivity(99),

	audit.CredentialIntended: authorize(99), audit.CredentialMinted: authorize(1), audit.CredentialDead: authorize(99),
	audit.CredentialAlive: authorize(99), audit.TokenMinted: authorize(1),

	audit.RecordingSegment: apiActivity(1), audit.RecordingSealed: apiActivity(1), audit.RecordingViewed: apiActivity(2),
	audit.RecordingExported: apiActivity(2), audit.RecordingDeleted: apiActivity(4), audit.RecordingFailed: apiActivity(99),
	audit.RecordingArchived: apiActivity(1), audit.RecordingHeld: apiActivity(3), audit.RecordingReleased: apiActivity(3), audit.RecordingDeleteOrdered: apiActivity(4),
	audit.InviteRevoked: accountChange(99), audit.FactorSpent: accountChange(99),
	audit.BackupMade: apiActivity(2), audit.GatewayRestored: lifecycle(99), audit.LogCompared: apiActivity(2),
	audit.AuditRead: apiActivity(2), audit.EvidenceExported: apiActivity(2), audit.NotificationSent: apiActivity(99), audit.NotificationLost: apiActivity(99),

	audit.InviteRedeemed: accountChange(99), audit.GrantFactor: userAccess(99), audit.TokenStopped: userAccess(2),

	audit.FindingRaised: finding(1), audit.FindingAcked: finding(2),
}

// OCSF is an event as the Open Cybersecurity Schema Framework has it. What has
// no place in a class goes to "unmapped", so that nothing is lost.
func OCSF(e audit.Event, product string) map[string]any {
	c, ok := classes[e.Type]
	if !ok {
		c = class{0, 0, 99} // Base Event: still delivered
	}
	if c.uid == 4007 && e.Detail["protocol"] == "postgres" {
		c = datastore(99)
		if e.Type == audit.SessionStarted {
			c = datastore(3) // Connect
		}
	}
	status, name := 1, "Success"
	if e.Outcome != audit.Success {
		status, name = 2, "Failure"
	}
	activity := string(e.Type)
	_, activity, _ = strings.Cut(activity, ".")
	out := map[string]any{
		"class_uid": c.uid, "category_uid": c.category, "activity_id": c.activity, "activity_name": activity,
		"type_uid": c.uid*100 + c.activity, "time": e.Time.UnixMilli(), "severity_id": ocsfSeverity(e),
		"status_id": status, "status": name, "message": string(e.Type),
	}
	metadata := map[string]any{
		"version": ocsfVersion, "uid": e.ID, "sequence": e.Seq, "event_code": string(e.Type), "log_name": "jit-gateway audit",
		"product": map[string]any{"name": "jit-gateway", "vendor_name": "jit-gateway", "version": product},
	}
	out["metadata"] = metadata
	if id := first(e.Request, e.Grant, e.Session); id != "" {
		metadata["correlation_uid"] = id
	}
	switch c.uid {
	case 3003, 3005, 4007, 6002, 2004: // have no actor of their own
		metadata["profiles"] = []string{"host"}
	}
	actor := map[string]any{"app_name": first(e.Actor.Via, "gateway")}
	if e.Actor.ID != "" || e.Actor.Name != "" {
		actor["user"] = ocsfUser(e.Actor.ID, e.Actor.Name)
	}
	out["actor"] = actor
	if e.Reason != "" {
		out["status_detail"] = e.Reason
	}
	rest := map[string]any{}
	source := map[string]any{"name": "jit-gateway"}
	if e.Actor.Source != "" {
		source = map[string]any{"ip": e.Actor.Source}
		out["src_endpoint"] = source
	}
	switch c.uid {
	case 3001, 3002, 3003, 3005:
		out["user"] = ocsfUser(first(e.User, e.Actor.ID), first(e.Detail["user"], e.Detail["name"], e.Actor.Name))
	}
	switch c.uid {
	case 3002:
		out["service"] = map[string]any{"name": "jit-gateway"}
	case 3003, 3005:
		out["privileges"] = []string{first(e.Detail["login"], "session")}
		if e.Target != "" && c.uid == 3005 {
			out["resources"] = []map[string]any{{"name": e.Target, "type": "target"}}
		} else if e.Target != "" {
			out["dst_endpoint"] = map[string]any{"name": e.Target}
		}
	case 3004:
		out["entity"] = map[string]any{"type": "access_request", "name": first(e.Request, e.Target, string(e.Type))}
	case 4007:
		out["dst_endpoint"] = map[string]any{"name": first(e.Target, "unknown")}
	case 6005:
		out["dst_endpoint"] = map[string]any{"name": first(e.Target, "unknown")}
		out["src_endpoint"] = source
		out["type_id"] = 1
		out["database"] = map[string]any{"name": first(e.Target, "unknown"), "type_id": 1}
	case 6002:
		out["app"] = metadata["product"]
		delete(out, "src_endpoint")
	case 6003:
		out["api"] = map[string]any{"operation": string(e.Type)}
		out["src_endpoint"] = source
	case 2004:
		info := map[string]any{"uid": first(e.Detail["finding"], e.ID), "title": first(e.Detail["code"], string(e.Type))}
		if e.Reason != "" {
			info["desc"] = e.Reason
		}
		out["finding_info"] = info
		delete(out, "src_endpoint")
		// A finding's status is where its review stands, not how an act went.
		out["status_id"], out["status"] = 1, "New"
		if c.activity == 2 {
			out["status_id"], out["status"] = 2, "In Progress"
		}
	}
	if _, has := out["src_endpoint"]; !has && e.Actor.Source != "" {
		rest["source"] = e.Actor.Source
	}
	if c.uid == 2004 && e.Outcome != audit.Success {
		rest["outcome"] = string(e.Outcome)
	}
	for k, v := range e.Detail {
		rest[k] = v
	}
	for k, v := range map[string]string{"request": e.Request, "grant": e.Grant, "session": e.Session, "target": e.Target} {
		if v != "" {
			rest[k] = v
		}
	}
	if len(rest) > 0 {
		out["unmapped"] = rest
	}
	return out
}

// ocsfUser names a user by what is known; the schema wants at least one.
func ocsfUser(uid, name string) map[string]any {
	u := map[string]any{}
	if uid != "" {
		u["uid"] = uid
	}
	if name != "" || uid == "" {
		u["name"] = first(name, "unknown")
	}
	return u
}

// ocsfSeverity: 1 informational, 2 low, 3 medium, 5 critical.
func ocsfSeverity(e audit.Event) int {
	switch severity(e) {
	case 2:
		return 5
	case 4:
		return 3
	case 5:
		return 2
	}
	return 1
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}
