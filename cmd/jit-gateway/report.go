package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/report"
	"jit-gateway/internal/web"
)

// newReports makes what writes access reports, signed by the audit key.
func (g *gateway) newReports(signer *audit.Signer) (*report.Writer, error) {
	return report.New(report.Options{Store: g.db, Inventory: g.inventory, Rules: g.rules.Load, Sign: signer.SignText, Gateway: g.conf.Name, Now: now})
}

func commandReport(r *report.Writer) func(context.Context, time.Time, time.Time, string, io.Writer) error {
	return func(ctx context.Context, from, to time.Time, format string, w io.Writer) error {
		return r.Write(ctx, report.Query{From: from, To: to}, format, w)
	}
}

func pageReport(r *report.Writer) func(context.Context, web.ReportQuery, string, io.Writer) error {
	return func(ctx context.Context, q web.ReportQuery, format string, w io.Writer) error {
		return r.Write(ctx, report.Query{From: q.From, To: q.To}, format, w)
	}
}

// verifyReport checks a report that was written to a file; done says whether
// it is one.
func (c verifyCmd) report(s *io3, f *os.File, key string) (done bool, err error) {
	head := make([]byte, 256)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF || !report.Is(head[:n]) {
		return false, nil
	}
	raw, err := io.ReadAll(io.LimitReader(f, 1<<30))
	if err != nil {
		return true, err
	}
	v, err := report.Verify(raw, key)
	if err != nil {
		fmt.Fprintln(s.out, "broken:", err)
		return true, exitError(1)
	}
	if c.JSON {
		return true, printJSON(s.out, v)
	}
	_, err = fmt.Fprintln(s.out, v)
	return true, err
}

// outFile takes --out FILE off a `report` command line: the file is written
// here, by whoever runs the command, not by the gateway.
func outFile(args []string) (rest []string, path string) {
	if len(args) == 0 || args[0] != "report" {
		return args, ""
	}
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case (a == "--out" || a == "-o") && i+1 < len(args):
			path, i = args[i+1], i+1
		case strings.HasPrefix(a, "--out="):
			path = strings.TrimPrefix(a, "--out=")
		default:
			rest = append(rest, a)
		}
	}
	return rest, path
}

// intoFile runs a call with its output in a file, which is there once it is whole.
func intoFile(path string, stderr io.Writer, call func(stdout io.Writer) int) int {
	f, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		fmt.Fprintln(stderr, "jit-gateway:", err)
		return 1
	}
	defer os.Remove(f.Name())
	status := call(f)
	err = f.Close()
	if err == nil && status == 0 {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		fmt.Fprintln(stderr, "jit-gateway:", err)
		return 1
	}
	return status
}
