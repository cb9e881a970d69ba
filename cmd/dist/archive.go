package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5" //nolint:gosec // Debian's md5sums file; the package itself is named by SHA-256
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
)

// pack is a gzipped tar whose bytes depend on its contents alone.
type pack struct {
	buf  bytes.Buffer
	gz   *gzip.Writer
	tar  *tar.Writer
	when time.Time
	dirs map[string]bool
}

func newPack(when time.Time) *pack {
	p := &pack{when: when, dirs: map[string]bool{}}
	p.gz, _ = gzip.NewWriterLevel(&p.buf, gzip.BestCompression)
	p.tar = tar.NewWriter(p.gz)
	return p
}

// parents adds the directories above a file that are not there yet.
func (p *pack) parents(name string) error {
	dir := path.Dir(name)
	if dir == "." || dir == "/" || p.dirs[dir] {
		return nil
	}
	if err := p.parents(dir); err != nil {
		return err
	}
	p.dirs[dir] = true
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: p.when, Format: tar.FormatGNU, Uname: "root", Gname: "root"})
}

func (p *pack) add(name string, mode int64, b []byte) error {
	if err := p.parents(name); err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(b)), ModTime: p.when, Format: tar.FormatGNU, Uname: "root", Gname: "root"}
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err := p.tar.Write(b)
	return err
}

func (p *pack) bytes() ([]byte, error) {
	if err := p.tar.Close(); err != nil {
		return nil, err
	}
	if err := p.gz.Close(); err != nil {
		return nil, err
	}
	return p.buf.Bytes(), nil
}

// writeTarball puts everything below one directory.
func writeTarball(out, dir string, files []file, when time.Time) error {
	p := newPack(when)
	for _, f := range files {
		b, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		name := f.path
		for from, to := range map[string]string{"usr/bin/": "", "usr/lib/systemd/system/": "configs/", "usr/share/doc/jit-gateway/": "", "usr/share/jit-gateway/": ""} {
			if rest, ok := strings.CutPrefix(f.path, from); ok {
				name = to + rest
			}
		}
		if name == "copyright" { // Debian's name for it
			name = "LICENSE"
		}
		if p.dirs["file "+name] {
			continue // the units are among the configurations, too
		}
		p.dirs["file "+name] = true
		if err := p.add(dir+"/"+name, f.mode, b); err != nil {
			return err
		}
	}
	b, err := p.bytes()
	if err != nil {
		return err
	}
	return os.WriteFile(out, b, 0o644)
}

const control = `Package: jit-gateway
Version: %s
Architecture: %s
Maintainer: jit-gateway maintainers <root@localhost>
Installed-Size: %d
Depends: libc6 (>= %s), adduser
Recommends: ca-certificates, systemd
Section: admin
Priority: optional
Description: just-in-time access to SSH hosts and databases
 Nobody holds standing access: people ask for a target, a reason and a time,
 somebody else approves, a second factor is given; then the gateway mints
 short-lived credentials, carries and records the session, and ends it exactly.
`

// postinst makes the user. Nothing is started: first there is init to run. An
// upgrade restarts nothing either: that would end sessions, and when and how is
// the operator's to say (docs/operations.md).
const postinst = `#!/bin/sh
set -e
if [ "$1" = configure ]; then
	adduser --system --group --home /var/lib/jit-gateway --no-create-home --quiet jit-gateway
	install -d -o jit-gateway -g jit-gateway -m 0700 /var/lib/jit-gateway
	install -d -o root -g jit-gateway -m 0750 /etc/jit-gateway
	[ ! -d /run/systemd/system ] || systemctl daemon-reload
fi
`

// prerm stops a gateway whose program is about to go.
const prerm = `#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl disable --now jit-gateway.socket jit-gateway.service
fi
`

const postrm = `#!/bin/sh
set -e
# Keys, store and recordings stay, also on purge: nobody else has them.
[ ! -d /run/systemd/system ] || systemctl daemon-reload
`

// writeDeb makes a package in the form of deb(5): an ar archive of
// debian-binary, control.tar.gz and data.tar.gz.
func writeDeb(out, version, libc string, files []file, when time.Time) error {
	data, ctl := newPack(when), newPack(when)
	var sums strings.Builder
	size := 0
	for _, f := range files {
		b, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		size += len(b)
		sum := md5.Sum(b) //nolint:gosec // see the import
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), f.path)
		if err := data.add("./"+f.path, f.mode, b); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		name, text string
		mode       int64
	}{{"./control", fmt.Sprintf(control, version, debArch(), (size+1023)/1024, libc), 0o644}, {"./md5sums", sums.String(), 0o644},
		{"./postinst", postinst, 0o755}, {"./prerm", prerm, 0o755}, {"./postrm", postrm, 0o755}} {
		if err := ctl.add(c.name, c.mode, []byte(c.text)); err != nil {
			return err
		}
	}
	c, err := ctl.bytes()
	if err != nil {
		return err
	}
	d, err := data.bytes()
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.WriteString(f, "!<arch>\n"); err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		b    []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", c}, {"data.tar.gz", d}} {
		if len(m.b)%2 == 1 {
			m.b = append(m.b, '\n')
			if _, err := fmt.Fprintf(f, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m.name, when.Unix(), 0, 0, "100644", len(m.b)-1, m.b); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(f, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m.name, when.Unix(), 0, 0, "100644", len(m.b), m.b); err != nil {
			return err
		}
	}
	return f.Close()
}
