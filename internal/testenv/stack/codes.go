package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"jit-gateway/internal/testenv"
)

// step is how long a TOTP code is shown.
const step = 30 * time.Second

// Codes hands out TOTP codes, each once, also to several processes at a time:
// the last step that each user spent is kept in a file, under a lock.
type Codes struct{ path string }

// Next returns a code that the gateway takes now and that nobody got before.
// The gateway takes the step before the present one and the one after it, and
// never an earlier step than the last: so three codes are at hand, and the
// fourth means waiting, up to half a minute.
func (c Codes) Next(user, secret string) (string, error) {
	for {
		at, wait, err := c.spend(user, time.Now())
		if err != nil {
			return "", err
		}
		if wait == 0 {
			return testenv.TOTP(secret, at)
		}
		time.Sleep(wait)
	}
}

// spend takes the earliest good step, or says how long to wait for one.
func (c Codes) spend(user string, now time.Time) (at time.Time, wait time.Duration, err error) {
	f, err := os.OpenFile(c.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return at, 0, err
	}
	defer f.Close() // and so unlocks
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return at, 0, fmt.Errorf("lock %s: %w", c.path, err)
	}
	spent := map[string]int64{}
	if err := json.NewDecoder(f).Decode(&spent); err != nil && !isEmpty(f) {
		return at, 0, fmt.Errorf("read %s: %w", c.path, err)
	}
	present := now.Unix() / int64(step/time.Second)
	first := present - 1
	if now.Sub(now.Truncate(step)) > step-8*time.Second {
		first = present // the one before might be too old when it arrives
	}
	next := max(first, spent[user]+1)
	if next > present+1 {
		return at, time.Unix((next-1)*int64(step/time.Second), 0).Sub(now) + 50*time.Millisecond, nil
	}
	spent[user] = next
	b, err := json.Marshal(spent)
	if err != nil {
		return at, 0, err
	}
	if err := f.Truncate(0); err != nil {
		return at, 0, err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return at, 0, err
	}
	return time.Unix(next*int64(step/time.Second), 0), 0, nil
}

func isEmpty(f *os.File) bool {
	fi, err := f.Stat()
	return err == nil && fi.Size() == 0 || errors.Is(err, fs.ErrNotExist)
}

// Code is a fresh code of the user.
func (s *Stack) Code(user string) (string, error) {
	secret, ok := s.Secrets[user]
	if !ok {
		return "", fmt.Errorf("%s has no second factor here", user)
	}
	return s.codes.Next(user, secret)
}
