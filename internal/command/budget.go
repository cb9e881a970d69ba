package command

import (
	"errors"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
)

type budgetCmd struct {
	Grant      string `arg:"" help:"Grant."`
	Rows       int64  `help:"Rows more." placeholder:"N"`
	Bytes      int64  `help:"Bytes more, of rows and COPY data to the client." placeholder:"N"`
	Statements int64  `help:"Statements more." placeholder:"N"`
}

// Help is shown below the usage.
func (*budgetCmd) Help() string {
	return "Sessions that run get it at once: the statement that was refused can be sent again. Takes a fresh code of somebody who may approve the grant.\n\n" +
		"Example: ssh jit-gateway budget G7K2 --rows 100000"
}

func (b *budgetCmd) Run(c *call) error {
	g, err := c.findGrant(b.Grant)
	if err != nil {
		return err
	}
	by := policy.Budget{Rows: b.Rows, Bytes: b.Bytes, Statements: b.Statements}
	proof, err := c.r.o.Dialogue.Proof(c.ctx, c.term, c.inv.Caller, "")
	if err != nil {
		return err
	}
	g, err = c.r.o.Approvals.RaiseBudget(c.ctx, c.inv.Caller, g.ID, by, proof)
	if err != nil {
		var ge *approval.GrantError
		if errors.As(err, &ge) {
			return failf("%s.", ge)
		}
		return err
	}
	if c.root.JSON {
		return c.json(g.Raised)
	}
	c.say("The budget of %s was raised; all in all by %d rows, %d bytes, %d statements.", g.ID, g.Raised.Rows, g.Raised.Bytes, g.Raised.Statements)
	return nil
}
