// Package recording keeps what passed in a session, and proves it later.
//
// The story: session calls Dir.Create before anything is relayed; the handler
// hands every byte, statement and file operation to the Writer and forwards it
// only when that call has returned nil (guarantee G2). Events are gathered in
// memory, written to the session's tail file at each group commit, and moved
// in compressed chunks to the recording itself, where segments of them form a
// hash chain. Seal writes the footer. After kill -9, Dir.Recover seals what
// reached the disk (G9). A Reader replays, exports, searches and verifies; it
// yields all that is intact and says where a damaged file is broken.
//
// The package refuses: a full disk (Create fails before a session starts), a
// recording that exists, events after a failure (every method returns that
// failure), and to release anything in strict mode that is not on the disk.
//
// Start at writer.go for the hot path, commit.go for the order of disk writes,
// block.go and docs/recording-format.md for the bytes, reader.go for the rest.
package recording
