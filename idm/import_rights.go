package idm

import (
	"context"
	"fmt"
	"slices"

	"github.com/01b61c5c/failover"
)

// entryRights is the name under which the rights to an entry itself are asked for, and the bits that allow to create
// entries below it (seen in published ACL values).
const entryRights = "[Entry Rights]"

const (
	entryRightAdd        Right = 2
	entryRightSupervisor Right = 16
)

// rights asks the server, where it can tell, whether the user may make the changes this import has to make. Where it
// cannot, a missing right shows at the first write, which is refused with nothing written.
func (imp *importer) rights(ctx context.Context) error {
	s := imp.server
	if !s.RootDSE().HasExtension(oidPrivileges) || s.bindDN == "" {
		return nil
	}
	existing, creates, attributes, err := imp.demands(ctx)
	if err != nil {
		return err
	}
	if creates {
		at := existing
		if at == "" {
			at = ParentDN(imp.top)
		}
		if err := s.demandRight(ctx, at, entryRights, entryRightAdd|entryRightSupervisor, "create objects below"); err != nil {
			return err
		}
	}
	if existing != "" {
		for _, name := range attributes {
			if err := s.demandRight(ctx, existing, name, RightWrite|RightSupervisor, "write "+name+" of"); err != nil {
				return err
			}
		}
	}
	imp.report.RightsVerified = true
	return nil
}

// demands returns the topmost object that exists, whether objects have to be created, and the attributes of existing ones that change.
func (imp *importer) demands(ctx context.Context) (existing string, creates bool, attributes []string, err error) {
	err = pairs(ctx, imp.in.objects, imp.have, imp.scope, func(w, h *object, _ []byte) error {
		switch {
		case w == nil:
		case h == nil:
			creates = true
		default:
			if existing == "" {
				existing = h.dn
			}
			for _, d := range imp.pairing.all(w, h) {
				if d.want != nil && !slices.Contains(attributes, d.name) {
					attributes = append(attributes, d.name)
				}
			}
		}
		return nil
	})
	slices.Sort(attributes)
	return existing, creates, attributes, err
}

func (s *Server) demandRight(ctx context.Context, dn, attribute string, enough Right, what string) error {
	have, err := s.Privileges(ctx, dn, s.bindDN, attribute)
	if err != nil {
		return err
	}
	if have&enough != 0 {
		return nil
	}
	return &failover.Error{Op: "check rights", Target: dn, Outcome: failover.NotApplied, Next: "grant " + s.bindDN + " the right; nothing was written",
		Err: fmt.Errorf("%w: %s may not %s %s", ErrNoAccess, s.bindDN, what, dn)}
}
