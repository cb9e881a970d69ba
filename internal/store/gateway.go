package store

import "time"

// Gateway is one process that uses the store, as it described itself.
type Gateway struct {
	ID      string    `json:"id"`   // of this run: new at every start
	Name    string    `json:"name"` // of the machine
	Version string    `json:"version,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Beat    time.Time `json:"beat,omitzero"` // when it last said that it is alive
}
