package ticket

import (
	"encoding/json"
	"strconv"
	"strings"
)

// at finds a value by its path: names of fields and numbers of list entries,
// with dots between. Texts, numbers and truth values are returned as text; of
// anything else, and of null, there is none.
func at(v any, path string) (string, bool) {
	for _, step := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(x) {
				return "", false
			}
			v = x[i]
		default:
			return "", false
		}
	}
	switch x := v.(type) {
	case string:
		return x, true
	case json.Number:
		return x.String(), true
	case bool:
		return strconv.FormatBool(x), true
	}
	return "", false
}
