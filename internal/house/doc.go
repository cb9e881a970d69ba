// Package house holds tests that guard the house itself: which package may
// import which (the layers of DESIGN.md), that every package begins with its
// story, that files stay small, that no test skips itself, that fuzz targets
// have seeds, and that docs/guarantees.md names tests that exist.
//
// It has no code to import; read the tests, beginning with layers_test.go.
package house
