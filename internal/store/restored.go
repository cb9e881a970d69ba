package store

// Restored counts what a restore ended, because the backup had it as open.
type Restored struct {
	Grants   int `json:"grants"`
	Tokens   int `json:"tokens"`
	Requests int `json:"requests"`
	Browsers int `json:"browsers"`
	Links    int `json:"links"`
	Invites  int `json:"invites"`
	Acts     int `json:"acts"`
	Factors  int `json:"factors"` // whose steps are spent up to now
	Codes    int `json:"codes"`   // recovery codes
}
