package command

import (
	"errors"
	"io"

	"github.com/alecthomas/kong"

	"jit-gateway/internal/dialogue"
)

// tree is the list of commands. The tag who says for whom a command is: user
// (a registered user; the default), any (the local administrator too),
// auditor, admin (each of the three includes the local administrator), second
// (an administrator over ssh), local (the local administrator alone), or
// enroll (an unknown key too). The tag needs names the option without which a
// command is left out.
type tree struct {
	JSON bool `name:"json" help:"Print JSON."`

	Targets  targetsCmd  `cmd:"" group:"access" help:"List what you may ask for, and what you have."`
	Request  requestCmd  `cmd:"" group:"access" help:"Ask for access."`
	Requests requestsCmd `cmd:"" group:"access" help:"List requests that are open for you or by you, or show one." who:"any"`
	Withdraw withdrawCmd `cmd:"" group:"access" help:"Take back your request."`
	Grants   grantsCmd   `cmd:"" group:"access" help:"List your grants, or show one." who:"any"`
	Activate activateCmd `cmd:"" group:"access" help:"Open the window of an approved request with a code."`
	Extend   extendCmd   `cmd:"" group:"access" help:"Ask for more time on a live grant; sessions go on."`
	Release  releaseCmd  `cmd:"" group:"access" help:"Give a grant back before its end."`
	Token    tokenCmd    `cmd:"" group:"access" help:"Print a session token for a database."`
	Cert     certCmd     `cmd:"" group:"access" help:"Sign a public key (stdin) that the gateway accepts under a grant." needs:"cert"`

	Approve approveCmd `cmd:"" group:"approve" help:"Approve requests, all with one code."`
	Deny    denyCmd    `cmd:"" group:"approve" help:"Deny requests with a reason."`
	Revoke  revokeCmd  `cmd:"" group:"approve" help:"End somebody's grant now, with a reason." who:"any"`
	Budget  budgetCmd  `cmd:"" group:"approve" help:"Add to the budget of a live database grant."`
	Review  reviewCmd  `cmd:"" group:"approve" help:"Review an emergency grant, or list those that wait for it."`

	Sessions  sessionsCmd  `cmd:"" group:"session" help:"List sessions, or show one." who:"any"`
	Watch     watchCmd     `cmd:"" group:"session" help:"Watch a live session from its current screen on; q leaves." who:"any"`
	Terminate terminateCmd `cmd:"" group:"session" help:"End a live session, with a reason its user will read." who:"any"`
	Recording recordingCmd `cmd:"" group:"session" help:"List, replay, export and verify recordings." who:"any"`
	Findings  findingsCmd  `cmd:"" group:"session" help:"List what is unusual and nobody has looked at yet, or say what you found." who:"auditor" needs:"findings"`
	Evidence  evidenceCmd  `cmd:"" group:"session" help:"Write the evidence pack of a grant to stdout." who:"any" needs:"evidence"`

	Config configCmd `cmd:"" group:"self" help:"Print the ssh_config and known_hosts lines."`
	Web    webCmd    `cmd:"" group:"self" help:"Print a one-time link to the page." needs:"web"`
	Enroll enrollCmd `cmd:"" group:"self" help:"Register this key and a second factor with a one-time code." who:"enroll"`
	Whoami whoamiCmd `cmd:"" group:"self" help:"Show who you are here: groups, keys, second factors." who:"any"`
	Help   helpCmd   `cmd:"" group:"self" help:"Show the commands, or one command." who:"enroll"`

	User    userCmd    `cmd:"" group:"admin" help:"Administer users." who:"admin"`
	Target  targetCmd  `cmd:"" group:"admin" help:"Administer targets." who:"admin"`
	Confirm confirmCmd `cmd:"" group:"admin" help:"Confirm another administrator's change, or list those that wait." who:"second" needs:"acts"`
	CA      caCmd      `cmd:"" group:"admin" name:"ca" help:"Show what hosts, databases and browsers must trust; replace a CA." who:"any"`
	Reload  reloadCmd  `cmd:"" group:"admin" help:"Read rules and targets of the configuration again, and say what that changes." who:"admin" needs:"reload"`
	Report  reportCmd  `cmd:"" group:"admin" help:"Write the access report of a period to stdout, signed." who:"auditor" needs:"report"`
	Health  healthCmd  `cmd:"" group:"admin" help:"Say how the gateway is: store, disk, clock, keys, copies of the log, targets." who:"auditor" needs:"health"`
	Backup  backupCmd  `cmd:"" group:"admin" help:"Write a backup of the gateway to stdout." who:"local" needs:"backup"`
	Audit   auditCmd   `cmd:"" group:"admin" help:"Read and verify the audit log." who:"auditor"`
}

var groups = kong.Groups{
	"access":  "Your access",
	"approve": "Approving",
	"session": "Sessions and recordings",
	"self":    "You and your clients",
	"admin":   "Administration",
}

// errHelp ends the parsing of a command line that asks for help.
var errHelp = errors.New("help was shown")

type helpFlag bool

func (helpFlag) IgnoreDefault() {}

// BeforeReset prints the help of the command that was named so far.
func (helpFlag) BeforeReset(ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 96, ValueFormatter: kong.DefaultHelpValueFormatter}, ctx); err != nil {
		return err
	}
	return errHelp
}

// parser builds the tree as the caller sees it: commands without their
// service are left out, those for others are hidden.
func (r *Runner) parser(c *call, out io.Writer) (*kong.Kong, error) {
	var root struct {
		Help helpFlag `name:"help" short:"h" help:"Show help."`
		tree
	}
	k, err := kong.New(&root,
		kong.Name(r.o.Public.Name),
		kong.Description("Just-in-time access: ask, get approved, prove it is you, work, and nothing is left behind."),
		kong.NoDefaultHelp(),
		kong.Writers(out, out),
		kong.Exit(func(int) {}),
		groups,
		kong.Bind(c),
	)
	if err != nil {
		return nil, err
	}
	c.root = &root.tree
	r.prune(k.Model.Node, c, "user")
	return k, nil
}

func (r *Runner) prune(n *kong.Node, c *call, who string) {
	var kept []*kong.Node
	for _, child := range n.Children {
		if need := child.Tag.Get("needs"); need != "" && !r.has(need) {
			continue
		}
		w := whoOf(child, who)
		if c.denied(w) != "" {
			child.Hidden, child.Group = true, nil // its group would head an empty list
		}
		r.prune(child, c, w)
		kept = append(kept, child)
	}
	n.Children = kept
}

func whoOf(n *kong.Node, inherited string) string {
	if n.Tag != nil {
		if w := n.Tag.Get("who"); w != "" {
			return w
		}
	}
	return inherited
}

func (r *Runner) has(need string) bool {
	switch need {
	case "cert":
		return r.o.UserCert != nil
	case "evidence":
		return r.o.Evidence != nil
	case "web":
		return r.o.PageLink != nil
	case "acts":
		return r.o.Acts != nil
	case "reload":
		return r.o.Rules != nil
	case "report":
		return r.o.Report != nil
	case "findings":
		return r.o.Findings != nil
	case "machines":
		return r.o.Machines != nil
	case "check":
		return r.o.Check != nil
	case "health":
		return r.o.Health != nil
	case "sync":
		return r.o.Sync != nil
	case "search":
		return r.o.Search != nil
	case "backup":
		return r.o.Backup != nil
	case "keeper":
		return r.o.Keeper != nil && r.o.Acts != nil
	}
	return false
}

// denied says why the caller may not use a command for who, or "".
func (c *call) denied(who string) string {
	known := c.inv.User.ID != ""
	switch {
	case who == "enroll":
		return ""
	case !known && !c.inv.LocalAdmin:
		return "This key is not registered. With a one-time code from an administrator, run: " + EnrollCommand(c.r.o.Public, "CODE")
	case who == "any":
		return ""
	case who == "local" && !c.inv.LocalAdmin:
		return "That is done on the gateway's own machine, by the gateway's user or root."
	case who == "user" && !known:
		return "This needs a user of the gateway, and admin.sock has none. Use ssh " + c.r.o.Public.Name + " …"
	case who == "second" && !known:
		return "A change is confirmed by a second administrator, over ssh with their own second factor."
	case who == "user" || c.inv.LocalAdmin:
		return ""
	case who == "auditor" && (c.r.o.Approvals.IsAuditor(c.inv.User) || c.r.o.Approvals.IsAdmin(c.inv.User)):
		return ""
	case (who == "admin" || who == "second") && c.r.o.Approvals.IsAdmin(c.inv.User):
		return ""
	case who == "auditor":
		return "That is for auditors and administrators."
	}
	return "That is for administrators."
}

var _ dialogue.Terminal = (*console)(nil)
var _ dialogue.Terminal = (*lines)(nil)
