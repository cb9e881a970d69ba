package command

import "jit-gateway/internal/admin"

// newAdmin makes what changes users and targets.
func newAdmin(o Options) (*admin.Service, error) {
	a := admin.Options{Users: o.Users, Inventory: o.Inventory, Targets: o.Targets, Reload: o.Reload, Factors: o.MFA, IsAdmin: o.Approvals.IsAdmin, Now: o.Now}
	if o.Acts != nil {
		a.Acts = o.Acts
	}
	if o.Machines != nil {
		a.Machines = o.Machines
	}
	if o.Keeper != nil {
		a.Others = map[string]admin.Another{kindDelete: deleteConfirmed(o.Keeper)}
	}
	return admin.New(a)
}

// Admin changes users and targets as the commands do, for the page.
func (r *Runner) Admin() *admin.Service { return r.admin }
