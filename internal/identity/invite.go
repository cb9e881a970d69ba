package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
	"jit-gateway/internal/store"
)

// ErrInvite is the one answer to a wrong, a used and an expired code.
var ErrInvite = errors.New("that one-time code is not valid, or no longer; ask an administrator for a new one")

const codeLength = 26 // characters of 5 bits: 130 bits, beyond guessing without limits

// DefaultInviteLifetime is how long an invite lasts when nobody says.
const DefaultInviteLifetime = 24 * time.Hour

// NewInvite makes a one-time code for the user. The code is shown once; the
// Invite, to be stored, knows its SHA-256 alone.
func NewInvite(userID, createdBy string, now time.Time, ttl time.Duration) (code string, inv Invite) {
	if ttl <= 0 {
		ttl = DefaultInviteLifetime
	}
	code = id.Short("", codeLength)
	now = now.UTC().Truncate(time.Millisecond)
	return code, Invite{
		ID: id.New(id.Invite), UserID: userID, CodeHash: HashCode(code),
		CreatedBy: createdBy, CreatedAt: now, ExpiresAt: now.Add(ttl),
	}
}

// HashCode is what is stored of a code. Case, blanks and dashes do not matter.
func HashCode(code string) []byte {
	plain := strings.NewReplacer(" ", "", "-", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code))
	sum := sha256.Sum256([]byte("jit-gateway invite\x00" + plain))
	return sum[:]
}

// OpenInvite returns the invite of a code that is neither used nor expired.
// It does not spend it. Wrong, used and expired codes get the same answer: ErrInvite.
func OpenInvite(ctx context.Context, s Invites, code string, now time.Time) (Invite, error) {
	inv, err := s.InviteByHash(ctx, HashCode(code))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Invite{}, ErrInvite
	case err != nil:
		return Invite{}, fmt.Errorf("look up the one-time code: %w", err)
	case !inv.UsedAt.IsZero() || !now.Before(inv.ExpiresAt):
		return Invite{}, ErrInvite
	}
	return inv, nil
}

// Redeem spends the code, once: of two at the same time one gets ErrInvite.
func Redeem(ctx context.Context, s Invites, code string, now time.Time, actor audit.Actor) (Invite, error) {
	inv, err := OpenInvite(ctx, s, code, now)
	if err != nil {
		return Invite{}, err
	}
	now = now.UTC().Truncate(time.Millisecond)
	err = s.UseInvite(ctx, inv.ID, now, audit.Event{
		Type: audit.InviteRedeemed, Outcome: audit.Success, Actor: actor, User: inv.UserID,
		Detail: map[string]string{"invite": inv.ID, "created_by": inv.CreatedBy},
	})
	switch {
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
		return Invite{}, ErrInvite
	case err != nil:
		return Invite{}, fmt.Errorf("spend the one-time code: %w", err)
	}
	inv.UsedAt = now
	return inv, nil
}
