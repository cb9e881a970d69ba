package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// IsReference reports whether s names a secret kept elsewhere.
func IsReference(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	return ok && rest != "" && (scheme == "file" || scheme == "env" || scheme == "credential")
}

// maxSecret bounds what is read for one secret.
const maxSecret = 64 << 10

// Secret resolves a reference:
//
//	file:/path       the file's content; refused if group or others can read it
//	env:NAME         an environment variable
//	credential:NAME  a systemd credential ($CREDENTIALS_DIRECTORY/NAME)
//
// One trailing newline is dropped. Errors name the reference, never a value.
func Secret(ref string) (string, error) {
	scheme, rest, _ := strings.Cut(ref, ":")
	switch scheme {
	case "file":
		return secretFile(ref, rest)
	case "env":
		if v, ok := os.LookupEnv(rest); ok && v != "" {
			return v, nil
		}
		return "", fmt.Errorf("secret %s: the environment variable is not set", ref)
	case "credential":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", fmt.Errorf("secret %s: not started by systemd with LoadCredential=%s", ref, rest)
		}
		if rest != filepath.Base(rest) {
			return "", fmt.Errorf("secret %s: a credential is a plain name", ref)
		}
		return secretFile(ref, filepath.Join(dir, rest))
	}
	return "", fmt.Errorf("a secret is written as file:/path, env:NAME or credential:NAME")
}

func secretFile(ref, path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", ref, err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("secret %s: mode %04o lets others read it; run chmod 600 %s", ref, st.Mode().Perm(), path)
	}
	if st.Size() > maxSecret {
		return "", fmt.Errorf("secret %s: %d bytes, at most %d", ref, st.Size(), maxSecret)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", ref, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}
