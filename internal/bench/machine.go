package bench

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// heading says what was measured on, since no figure means anything without.
func (r *runner) heading(title, before string, programs [][]string) {
	fmt.Fprintf(r.Out, "\n%s, %s. %s, %d CPUs, Linux %s; load average %s before, %s after. Recording on.\n",
		title, r.began.UTC().Format("2006-01-02 15:04 UTC"), processor(), runtime.NumCPU(), firstLine("uname", "-r"), before, load())
	var vs []string
	for _, p := range programs {
		vs = append(vs, firstLine(p[0], p[1:]...))
	}
	fmt.Fprintf(r.Out, "%s.\n\n", strings.Join(vs, "; "))
}

func (r *runner) footing() {
	for _, n := range r.notes {
		fmt.Fprintf(r.Out, "\n- %s", n)
	}
	fmt.Fprintf(r.Out, "\nTook %.0f s.\n", time.Since(r.began).Seconds())
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:2], " ")
}

func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

// firstLine is the first line that a program prints, to either of its outputs.
func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" {
		return name + " (unknown version)"
	}
	return line
}

// goroutines asks the gateway how many it has.
func goroutines(metricsPort int) (float64, error) {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", metricsPort))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, errors.New("the gateway's metrics have no go_goroutines")
}
