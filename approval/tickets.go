package approval

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jit-gateway/approval/risk"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// Tickets looks a ticket up where it lives. Check returns a *TicketRefused
// where the answer is no, and any other error where there was no answer: then
// nothing is filed either, but for emergencies.
type Tickets interface {
	Check(ctx context.Context, ticket string, u identity.User) error
}

// TicketRefused says in a sentence for the user why a ticket will not do.
type TicketRefused struct{ Text string }

func (e *TicketRefused) Error() string { return e.Text }

// ticketTime bounds a check, whatever the checker's own limits are.
const ticketTime = 30 * time.Second

// checkTicket looks up the ticket that a request names. An emergency is not
// held up by a ticket system that does not answer: it may be what burns.
func (s *Service) checkTicket(ctx context.Context, u identity.User, r *Request) error {
	if s.o.Tickets == nil || r.Ticket == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ticketTime)
	defer cancel()
	err := s.o.Tickets.Check(ctx, r.Ticket, u)
	var no *TicketRefused
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return refuse(ErrForbidden, "%s", no.Text)
	}
	s.o.Logger.Error("a ticket could not be checked", "ticket", display.Line(r.Ticket, maxTicket), "user", u.Name, "error", err)
	if r.BreakGlass {
		r.Risk = append(r.Risk, risk.Finding{Code: risk.UncheckedTicket, Text: "ticket " + display.Line(r.Ticket, maxTicket) + " could not be checked",
			Evidence: map[string]string{"ticket": r.Ticket}})
		return nil
	}
	return refuse(ErrForbidden, "%s", fmt.Sprintf("ticket %s could not be checked, so nothing was filed: the ticket system does not answer as it should; try again, or tell an administrator",
		display.Line(r.Ticket, maxTicket)))
}
