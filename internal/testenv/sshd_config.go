package testenv

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// firstUID is the uid of the first login when sshd runs as root: no package
// of Debian and no useradd hands out numbers up here.
const firstUID = 54001

// prepare writes everything that sshd reads.
func (s *SSHD) prepare() error {
	o := s.opts
	if os.Geteuid() == 0 {
		// sshd as root puts its unprivileged half there; Debian makes it at boot.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return err
		}
		if !Reachable(s.Dir) {
			return fmt.Errorf("%s is closed to other users, so its logins could not reach their homes", s.Dir)
		}
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	if err := s.hostKey(); err != nil {
		return err
	}
	if err := s.accounts(); err != nil {
		return err
	}
	if err := s.TrustUserCAs(o.UserCAs...); err != nil {
		return err
	}
	for _, login := range s.Logins {
		principals := o.Principals[login]
		if o.Principals == nil {
			principals = []string{login + "@" + s.Name}
		}
		var keys strings.Builder
		for _, k := range o.AuthorizedKeys[login] {
			keys.WriteString(AuthorizedKey(k) + "\n")
		}
		if err := writeFiles(s.Dir, 0o644, map[string]string{
			"principals/" + login:      strings.Join(principals, "\n") + "\n",
			"authorized_keys/" + login: keys.String(),
		}); err != nil {
			return err
		}
	}
	return os.WriteFile(s.path("sshd_config"), []byte(s.config()), 0o644)
}

func (s *SSHD) config() string {
	lines := append([]string{}, s.opts.Config...)
	lines = append(lines,
		"ListenAddress 127.0.0.1",
		"HostKey "+s.path("host_key"),
		"TrustedUserCAKeys "+s.path("user_ca"),
		"AuthorizedKeysFile "+s.path("authorized_keys/%u"),
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"UsePAM no",      // PAM knows nothing of the wrapper's logins
		"StrictModes no", // the directories above are not theirs
		"PidFile none",
		"LogLevel VERBOSE",
		"PrintMotd no",
		"PrintLastLog no",
		"UseDNS no",
		"MaxStartups 2000",
		"MaxSessions 1000",
		"Subsystem sftp internal-sftp",
		"AcceptEnv LANG LC_* JIT_TEST_*",
		// The login's own programs see the wrapper's names too: whoami says deploy.
		"SetEnv "+strings.Join(append(wrapperEnv(s.Dir), "NSS_WRAPPER_HOSTNAME="+s.Name), " "),
	)
	if s.opts.HostCA != nil {
		lines = append(lines, "HostCertificate "+s.path("host_key-cert.pub"))
	}
	if s.opts.Principals == nil || len(s.opts.Principals) > 0 {
		lines = append(lines, "AuthorizedPrincipalsFile "+s.path("principals/%u"))
	}
	return strings.Join(lines, "\n") + "\n"
}

// wrapperEnv makes getpwnam and friends answer from the files in dir. LD_PRELOAD
// without a path is searched for like any library, so it needs no architecture.
func wrapperEnv(dir string) []string {
	return []string{"LD_PRELOAD=libnss_wrapper.so", "NSS_WRAPPER_PASSWD=" + dir + "/passwd", "NSS_WRAPPER_GROUP=" + dir + "/group"}
}

func (s *SSHD) accounts() error {
	root := os.Geteuid() == 0
	// The privilege separation user must have a name whenever sshd is root.
	passwd := "root:x:0:0:root:/root:/bin/bash\nsshd:x:102:65534::/run/sshd:/usr/sbin/nologin\n"
	group := "root:x:0:\n"
	for i, login := range s.Logins {
		uid, gid := os.Getuid(), os.Getgid()
		if root {
			uid, gid = firstUID+i, firstUID+i
		}
		home := s.Home(login)
		passwd += fmt.Sprintf("%s:x:%d:%d:%s:%s:/bin/bash\n", login, uid, gid, login, home)
		group += fmt.Sprintf("%s:x:%d:\n", login, gid)
		if err := writeFiles(home, 0o644, map[string]string{".bash_profile": "PS1='\\u@\\h:\\w\\$ '\n"}); err != nil {
			return err
		}
		if root {
			for _, p := range []string{home, home + "/.bash_profile"} {
				if err := os.Chown(p, uid, gid); err != nil {
					return err
				}
			}
		}
	}
	gid, err := ttyGroup()
	if err != nil {
		return err
	}
	// sshd gives a pty to the group named tty, or without one to the login's
	// own group, and only root can change a group: so as an ordinary user the
	// name must stand for the group that new ptys have anyway.
	if root || gid != os.Getgid() {
		group += fmt.Sprintf("tty:x:%d:\n", gid)
	}
	return writeFiles(s.Dir, 0o644, map[string]string{"passwd": passwd, "group": group})
}

// ttyGroup is the group that a new pseudo-terminal belongs to: 5 on a usual
// Debian, our own where devpts is mounted without gid=5, as in containers.
func ttyGroup() (int, error) {
	master, slave, err := openPTY()
	if err != nil {
		return 0, err
	}
	defer master.Close()
	defer slave.Close()
	fi, err := slave.Stat()
	if err != nil {
		return 0, err
	}
	return int(fi.Sys().(*syscall.Stat_t).Gid), nil
}

func (s *SSHD) hostKey() error {
	path := s.path("host_key")
	if b, err := os.ReadFile(path); err == nil { // a demo that is started again keeps its identity
		signer, err := ssh.ParsePrivateKey(b)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		s.HostKey = signer.PublicKey()
	} else {
		signer, err := WriteKey(path, s.Name)
		if err != nil {
			return err
		}
		s.HostKey = signer.PublicKey()
	}
	if s.opts.HostCA == nil {
		return nil
	}
	names := s.opts.HostPrincipals
	if names == nil {
		names = []string{s.Name}
	}
	cert := &ssh.Certificate{Key: s.HostKey, CertType: ssh.HostCert, KeyId: s.Name, ValidPrincipals: names, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, s.opts.HostCA); err != nil {
		return fmt.Errorf("sign the host certificate: %w", err)
	}
	return os.WriteFile(s.path("host_key-cert.pub"), ssh.MarshalAuthorizedKey(cert), 0o644)
}
