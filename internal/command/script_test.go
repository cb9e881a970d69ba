package command

import (
	"strings"
	"testing"
)

// What is piped into `ssh jit-gateway` runs line by line.
func TestCommandsFromStdin(t *testing.T) {
	story(t, func(w *world) {
		r := w.run("alice", "# comment\n\nwhoami\r\nno-such-thing\nrequest deploy@web01 --for 1h\nnginx 502s\nrequests\n")
		if r.status != Usage || strings.Count(r.out, "alice") < 2 || !strings.Contains(r.err, "no-such-thing") || !strings.Contains(r.out, "web01") {
			w.Errorf("status %d\nout %s\nerr %s", r.status, r.out, r.err)
		}
		if out := w.ok("bob", "", "requests"); strings.Count(out, "web01") != 1 {
			w.Errorf("the reason is the line after the command: %s", out)
		}
		if r := w.run("alice", "whoami\nexit\nno-such-thing\n"); r.status != OK || r.err != "" {
			w.Errorf("after exit: %d, %s", r.status, r.err)
		}
		if r := w.run("alice", "whoami 'x\nwhoami"); r.status != Usage || !strings.Contains(r.out, "alice") {
			w.Errorf("after an open quote: %d, %s, %s", r.status, r.out, r.err)
		}
		for _, nothing := range []string{"", "\n# only this\n"} {
			if r := w.run("alice", nothing); r.status != Usage || !strings.Contains(r.err, "Name a command") || !strings.Contains(r.out, "Your access") {
				w.Errorf("%q: %d, %s, %s", nothing, r.status, r.out, r.err)
			}
		}
		if r := w.run("erin", "user disable alice\nwhoami\n"); r.status != OK {
			w.Errorf("%d, %s", r.status, r.err)
		}
		if r := w.run("alice", "whoami\nwhoami\nwhoami\n"); r.status != Failed || strings.Count(r.err, "disabled") != 1 || r.out != "" {
			w.Errorf("whoever is disabled gets no further: %d, %s", r.status, r.err)
		}
	})
}

// An unknown key sees the commands that it may run, under headings that have some.
func TestHelpOfAStranger(t *testing.T) {
	story(t, func(w *world) {
		for _, args := range [][]string{{"help"}, {"--help"}} {
			out := w.ok("stranger", "", args...)
			for _, heading := range []string{"Your access", "Approving", "Administration", "Sessions and recordings"} {
				if strings.Contains(out, heading) {
					w.Errorf("an empty heading %q:\n%s", heading, out)
				}
			}
			if !strings.Contains(out, "enroll") {
				w.Errorf("nothing to do:\n%s", out)
			}
		}
		w.fails(Failed, "stranger", "", []string{"targets"}, "not registered")
	})
}

func TestReportCommand(t *testing.T) {
	story(t, func(w *world) {
		if out := w.ok("carol", "", "report", "--from", "2026-01-01", "--to", "2026-03-31", "--format", "csv"); out != "csv from 2026-01-01T00:00:00Z to 2026-04-01T00:00:00Z" {
			w.Error(out)
		}
		if out := w.ok("erin", "", "report", "--json"); !strings.HasPrefix(out, "json from ") {
			w.Error(out)
		}
		if out := w.ok("local", "", "report", "--from", "2026-01-01T10:00:00Z", "--to", "2026-01-01T11:00:00Z"); out != "html from 2026-01-01T10:00:00Z to 2026-01-01T11:00:00Z" {
			w.Error(out)
		}
		w.fails(Failed, "alice", "", []string{"report"}, "for auditors")
		w.fails(Failed, "bob", "", []string{"report"}, "for auditors")
		w.fails(Usage, "carol", "", []string{"report", "--from", "2026-02-01", "--to", "2026-01-01"}, "must lie before")
		w.fails(Usage, "carol", "", []string{"report", "--from", "yesterday"}, "neither a day")
		w.fails(Usage, "carol", "", []string{"report", "--format", "pdf"}, "html")
		w.fails(Usage, "carol", "", []string{"report", "--out", "x"}, "> FILE")
		if out := w.ok("carol", "", "audit", "tail", "--json", "-n", "20"); strings.Count(out, `"how":"report `) != 3 {
			w.Error(out)
		}
	})
}
