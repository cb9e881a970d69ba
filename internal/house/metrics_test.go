package house

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var metricRE = regexp.MustCompile(`\bjit_[a-z_]+`)

// Every metric is documented, and dashboards and alerts ask for metrics that
// there are.
func TestMetricsAreDocumented(t *testing.T) {
	defined := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test || supports(f.pkg) {
			continue
		}
		src, err := os.ReadFile(filepath.Join(root, f.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`Name:\s*"(jit_[a-z_]+)"`).FindAllStringSubmatch(string(src), -1) {
			if !strings.Contains(string(src), "prometheus") {
				continue
			}
			defined[m[1]] = true
		}
	}
	if len(defined) < 15 {
		t.Fatalf("only %d metrics were found: %v", len(defined), defined)
	}
	page := read(t, "docs/metrics.md")
	for m := range defined {
		if !strings.Contains(page, "`"+m+"`") {
			t.Errorf("docs/metrics.md does not tell of %s", m)
		}
	}
	for _, file := range []string{"docs/metrics.md", "configs/prometheus-alerts.yaml", "configs/grafana-dashboard.json"} {
		text := read(t, file)
		for _, m := range slices.Compact(slices.Sorted(slices.Values(metricRE.FindAllString(text, -1)))) {
			if base := strings.TrimSuffix(m, "_bucket"); !defined[base] {
				t.Errorf("%s asks for %s, which there is not", file, m)
			}
		}
	}
	var dashboard map[string]any
	if err := json.Unmarshal([]byte(read(t, "configs/grafana-dashboard.json")), &dashboard); err != nil {
		t.Error(err)
	}
}
