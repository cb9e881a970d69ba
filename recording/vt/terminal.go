package vt

const (
	MaxCols = 500
	MaxRows = 300
)

type Terminal struct{}

func New(cols, rows int) *Terminal              { return &Terminal{} }
func (t *Terminal) Write(p []byte) (int, error) { return len(p), nil }
func (t *Terminal) Resize(cols, rows int)       {}
func (t *Terminal) Snapshot() []byte            { return nil }
