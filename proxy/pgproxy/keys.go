package pgproxy

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"sync"
)

// keys maps the cancel keys that clients hold to their sessions. A key is the
// backend's real pid, which pg_terminate_backend, NOTIFY and isolation testers
// compare, and a secret of the gateway's own.
type keys struct {
	mu    sync.Mutex
	byPID map[uint32][]key
}

type key struct {
	secret []byte
	link   *link
}

// add makes a key of the given length and returns it as BackendKeyData.
func (k *keys) add(pid uint32, length int, l *link) (data []byte, remove func()) {
	secret := make([]byte, length)
	rand.Read(secret)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byPID == nil {
		k.byPID = map[uint32][]key{}
	}
	k.byPID[pid] = append(k.byPID[pid], key{secret, l})
	return message('K', binary.BigEndian.AppendUint32(nil, pid), secret), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		all := k.byPID[pid]
		for i := range all {
			if all[i].link == l {
				all = append(all[:i:i], all[i+1:]...)
				break
			}
		}
		if k.byPID[pid] = all; len(all) == 0 {
			delete(k.byPID, pid)
		}
	}
}

// find returns the session that a cancel request is for, or nil.
func (k *keys) find(r *cancelRequest) *link {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found *link
	for _, c := range k.byPID[r.pid] {
		if subtle.ConstantTimeCompare(c.secret, r.secret) == 1 {
			found = c.link
		}
	}
	return found
}

// digest names a cancel key where it must not be told: among gateways.
func digest(pid uint32, secret []byte) string {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint32([]byte("jit-gateway cancel\x00"), pid), secret...))
	return hex.EncodeToString(sum[:])
}

// findDigest returns the session whose key has the digest, or nil.
func (k *keys) findDigest(want string) *link {
	k.mu.Lock()
	defer k.mu.Unlock()
	for pid, all := range k.byPID {
		for _, c := range all {
			if digest(pid, c.secret) == want {
				return c.link
			}
		}
	}
	return nil
}
