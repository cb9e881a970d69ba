// Package audit defines the events that the gateway writes, the Merkle log
// that they are leaves of, and the feed that everything else follows.
//
// An event is stored in the same transaction as the change that it tells of
// (guarantee G7): each mutating method of a store takes its Event. The log is
// the only outbox: terminations, waits, the page's live updates, notifications
// and sinks are cursors on Tail; no package calls another to say that
// something happened.
//
// Start reading at Event, then Log.
package audit
