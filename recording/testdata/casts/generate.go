//go:build ignore

// Generate writes the three casts that the size test uses, always the same:
// go run generate.go
//
// shell.cast is an engineer at a prompt, typing key by key; fullscreen.cast a
// process viewer that repaints twice a second, then an editor; build.cast a
// build log at full speed. Only the texts are made up: keystrokes, prompts,
// colours, cursor moves and pauses are as bash, top, vi and make have them.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strings"
)

type cast struct {
	b    bytes.Buffer
	r    *rand.Rand
	t    float64
	cols int
	rows int
}

func newCast(cols, rows int, seed uint64, title string) *cast {
	c := &cast{r: rand.New(rand.NewPCG(seed, seed)), cols: cols, rows: rows}
	fmt.Fprintf(&c.b, `{"version":2,"width":%d,"height":%d,"title":%q}`+"\n", cols, rows, title)
	return c
}

func (c *cast) out(after float64, s string) {
	c.t += after
	text, err := json.Marshal(s)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(&c.b, "[%.6f,\"o\",%s]\n", c.t, text)
}

func (c *cast) save(name string) {
	if err := os.WriteFile(name, c.b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// keys types a line with a human's pauses and an error now and then.
func (c *cast) keys(s string) {
	for _, k := range s {
		if c.r.IntN(40) == 0 {
			c.out(c.pause(), string(rune('a'+c.r.IntN(26))))
			c.out(c.pause()*2, "\b\x1b[K")
		}
		c.out(c.pause(), string(k))
	}
	c.out(c.pause()+0.2, "\r\n")
}

func (c *cast) pause() float64 { return 0.06 + c.r.ExpFloat64()*0.08 }

func (c *cast) ip() string {
	return fmt.Sprintf("203.0.113.%d", 4+c.r.IntN(2)) // the balancers
}

// logLine is one line of a service behind two balancers: most requests are
// alike, and level and text follow from the status.
func (c *cast) logLine(i int) string {
	path := []string{"/healthz", "/healthz", "/healthz", "/api/v1/orders", "/api/v1/orders", "/api/v1/orders/status", "/login", "/api/v1/customers"}[c.r.IntN(8)]
	level, text, status, took := "INFO", "request served", 200, 1+int(c.r.ExpFloat64()*6)
	if path != "/healthz" && c.r.IntN(5) == 0 {
		level, text, status, took = "ERROR", "connection reset by peer while reading response header from upstream", 502, 3000
	}
	return fmt.Sprintf("Nov 22 06:%02d:%02d web01 orders[%d]: %s %s GET %s %s status=%d took=%dms",
		i/60%60, i%60, 2211, level, c.ip(), path, text, status, took)
}

func shell() {
	c := newCast(120, 36, 7, "engineer at a prompt")
	prompt := "\x1b]0;deploy@web01: ~\x07\x1b[01;32mdeploy@web01\x1b[00m:\x1b[01;34m~\x1b[00m$ "
	c.out(0.1, "Linux web01 6.1.0-18-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01) x86_64\r\n\r\nLast login: Sat Nov 21 17:03:11 2026 from 203.0.113.7\r\n")
	run := func(cmd string, lines int, line func(i int) string) {
		c.out(0.01, prompt)
		c.out(1+c.r.ExpFloat64()*3, "")
		c.keys(cmd)
		var b strings.Builder
		for i := range lines {
			b.WriteString(line(i))
			b.WriteString("\r\n")
			if b.Len() > 3500 || i == lines-1 { // what a pty hands over at once
				c.out(0.004, b.String())
				b.Reset()
			}
		}
	}
	file := func(i int) string {
		return fmt.Sprintf("-rw-r--r-- 1 deploy deploy %7d Nov %2d %02d:%02d \x1b[0m\x1b[01;31morders-%04d.log.gz\x1b[0m", c.r.IntN(900000), 1+i%22, c.r.IntN(24), c.r.IntN(60), i)
	}
	run("systemctl status nginx", 14, func(i int) string { return fmt.Sprintf("     \x1b[0;1;32m●\x1b[0m %s", c.logLine(i)) })
	run("ls -l /var/log/orders", 90, file)
	run("journalctl -u orders -n 300 --no-pager", 300, c.logLine)
	run("curl -sI localhost:8080/healthz", 6, func(i int) string { return fmt.Sprintf("X-Header-%d: %d", i, c.r.IntN(1000)) })
	run("grep -c 502 /var/log/nginx/access.log", 1, func(int) string { return "1733" })
	run("journalctl -u orders -p warning --since -2h --no-pager", 450, c.logLine)
	run("df -h", 9, func(i int) string {
		return fmt.Sprintf("/dev/vda%d        %3dG  %3dG   %2dG  %2d%% /mnt/%d", i, 20+i, 3+i, 10+i, 13*i%100, i)
	})
	run("sudo systemctl restart orders", 0, nil)
	run("journalctl -u orders -n 200 --no-pager", 200, c.logLine)
	run("tail -n 400 /var/log/nginx/error.log", 400, c.logLine)
	run("ls -l /var/log/orders | tail -n 40", 40, file)
	run("exit", 1, func(int) string { return "logout" })
	c.save("shell.cast")
}

func fullscreen() {
	c := newCast(120, 36, 11, "process viewer, then editor")
	names := []string{"postgres", "orders", "nginx", "sshd", "systemd", "kworker/0:1", "node_exporter", "cron", "rsyslogd", "chronyd"}
	c.out(0.3, "\x1b[?1049h\x1b[?1h\x1b=\x1b[?25l\x1b[H\x1b[2J\x1b(B\x1b[m")
	for frame := range 120 {
		var b strings.Builder
		fmt.Fprintf(&b, "\x1b[H\x1b(B\x1b[mtop - 06:%02d:%02d up 12 days,  3:02,  2 users,  load average: 0.%02d, 0.31, 0.28\x1b(B\x1b[m\x1b[39;49m\x1b[K\r\n", 10+frame/60, frame%60, c.r.IntN(99))
		fmt.Fprintf(&b, "Tasks:\x1b(B\x1b[m\x1b[39;49m\x1b[1m 211 \x1b(B\x1b[m\x1b[39;49mtotal,\x1b[1m   %d \x1b(B\x1b[mrunning,\x1b[1m 209 \x1b(B\x1b[msleeping\x1b[K\r\n", 1+c.r.IntN(3))
		fmt.Fprintf(&b, "%%Cpu(s):\x1b[1m %2d.%d \x1b(B\x1b[mus,\x1b[1m  1.%d \x1b(B\x1b[msy,\x1b[1m  0.0 \x1b(B\x1b[mni\x1b[K\r\n\r\n", c.r.IntN(40), c.r.IntN(10), c.r.IntN(10))
		b.WriteString("\x1b[7m    PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND\x1b(B\x1b[m\x1b[39;49m\x1b[K\r\n")
		for i := range 30 {
			fmt.Fprintf(&b, "\x1b[m%7d %-9s 20   0 %7d %6d %6d S  %2d.%d   %d.%d %4d:%02d.%02d %-20s \x1b(B\x1b[m\x1b[39;49m\x1b[K", 1000+i*37, "deploy",
				700000+i*1111, 30000+i*77, 9000+i*13, max(0, 12-i)*c.r.IntN(3), c.r.IntN(10), i%4, i%10, i, frame%60, 10, names[i%len(names)])
			if i < 29 {
				b.WriteString("\r\n")
			}
		}
		c.out(0.5, b.String())
	}
	c.out(0.2, "\x1b[?1l\x1b>\x1b[36;1H\r\n\x1b[?25h\x1b[?1049l")
	c.out(1, "\x1b[?1049h\x1b[?2004h\x1b[1;36r\x1b[H\x1b[2J")
	for y := range 34 {
		c.out(0.001, fmt.Sprintf("\x1b[%d;1H\x1b[33m%4d \x1b[m\x1b[35mlisten\x1b[m %d; \x1b[34m# worker %d\x1b[m", y+1, y+1, 8080+y, y))
	}
	for i, k := range "server_name web01.prod.example; keepalive_timeout 65;" {
		c.out(c.pause(), fmt.Sprintf("\x1b[?25l\x1b[12;%dH%c\x1b[36;100H12,%d\x1b[12;%dH\x1b[?25h", 40+i, k, 40+i, 41+i))
	}
	c.out(0.5, "\x1b[36;1H\x1b[K:wq\r\x1b[?2004l\x1b[?1049l")
	c.save("fullscreen.cast")
}

func build() {
	c := newCast(120, 36, 13, "build log")
	dirs := []string{"core", "net", "store", "policy", "session", "web", "audit"}
	for i := range 1400 {
		d := dirs[i/200%len(dirs)]
		s := fmt.Sprintf("[%3d%%] \x1b[32mBuilding C object %s/CMakeFiles/%s.dir/src/%s_%03d.c.o\x1b[0m\r\n", i/14, d, d, d, i%200)
		if c.r.IntN(12) == 0 {
			s += fmt.Sprintf("\x1b[1m%s/src/%s_%03d.c:%d:%d: \x1b[35mwarning: \x1b[0munused variable \x1b[1m‘%s’\x1b[0m [\x1b[35m-Wunused-variable\x1b[0m]\r\n  %d |     int %s;\r\n      |         \x1b[35m^~~~\x1b[0m\r\n",
				d, d, i%200, c.r.IntN(900), c.r.IntN(80), "tmp", c.r.IntN(900), "tmp")
		}
		c.out(0.005+c.r.ExpFloat64()*0.02, s)
	}
	c.out(0.3, "\x1b[1;32m[100%] Built target all\x1b[0m\r\n")
	c.save("build.cast")
}

func main() {
	shell()
	fullscreen()
	build()
}
