package web

// Routes are the patterns that the page answers, for the test that tries all
// of them.
func (s *Server) Routes() []string { return s.routed }
