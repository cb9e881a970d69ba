// Package vt is a small terminal emulator: enough of xterm to know what a
// session's screen showed, and no more.
//
// Terminal follows a byte stream and can say at any moment, in escape
// sequences, how to redraw its whole state (Snapshot). A recording keeps such
// snapshots so that replay can begin anywhere and a late viewer sees the
// current screen. It answers nothing, rings nothing, and holds a bounded
// screen, whatever the stream asks for.
//
// Filter passes on what draws and drops what acts: titles, clipboard (OSC 52),
// device reports, key and mouse modes, printing, window operations. A replayed
// recording is hostile input to the auditor's terminal (guarantee G11).
//
// Parser, below both, is the state machine of DEC terminals for UTF-8.
package vt
