package web

import "time"

// Routes are the patterns that the page answers, for the test that tries all
// of them.
func (s *Server) Routes() []string { return s.routed }

// Beat sets how often a stream without events says that it is alive. Call it
// before there is one.
func (s *Server) Beat(d time.Duration) { s.beat = d }

// MaxStreams is how many streams one user may have open.
const MaxStreams = maxStreams
