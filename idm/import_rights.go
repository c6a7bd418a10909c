package idm

import (
	"context"
	"fmt"
	"strings"
)

// entryRights is the name under which the rights to an entry itself are asked for, and the bits that allow to create
// entries below it (seen in published ACL values).
const entryRights = "[Entry Rights]"

const (
	entryRightAdd        right = 2
	entryRightSupervisor right = 16
)

// rights asks the server, where it can tell, whether the user may make the changes this import has to make. Where it
// cannot, a missing right shows at the first write, which is refused with nothing written.
func (imp *importer) rights(ctx context.Context) error {
	s := imp.server
	if !s.RootDSE().HasExtension(oidPrivileges) || s.conf.UserDN == "" {
		return nil
	}
	below, writes, err := imp.demands(ctx)
	if err == nil && below != "" {
		err = s.demandRight(ctx, below, entryRights, entryRightAdd|entryRightSupervisor, "create objects below")
	}
	if err != nil {
		return err
	}
	for _, w := range writes {
		if err := s.demandRight(ctx, w.dn, w.attribute, rightsToWrite, "write "+w.attribute+" of"); err != nil {
			return err
		}
	}
	imp.report.RightsVerified = true
	return nil
}

// demand is one attribute that changes, and the first object on which it does. Rights are inherited downwards, so that
// one question for each attribute says most of what there is to know.
type demand struct{ attribute, dn string }

// demands returns under what the first new object comes, and what changes on existing ones.
func (imp *importer) demands(ctx context.Context) (below string, writes []demand, err error) {
	asked := map[string]bool{}
	var path []string // existing objects above the one at hand
	err = pairs(ctx, imp.in.objects, imp.have, imp.scope, func(w, h *object, _ []byte) error {
		at := w
		if h != nil {
			at = h
		}
		for len(path) > 0 && !belowDN(at.dn, path[len(path)-1]) {
			path = path[:len(path)-1]
		}
		switch {
		case w == nil:
		case h == nil && below == "":
			if below = ParentDN(imp.top); len(path) > 0 {
				below = path[len(path)-1]
			}
		case h != nil:
			for _, d := range imp.pairing.all(w, h) {
				if name := strings.ToLower(d.name); d.want != nil && !asked[name] {
					asked[name] = true
					writes = append(writes, demand{d.name, h.dn})
				}
			}
		}
		if h != nil && isContainer(h) {
			path = append(path, h.dn)
		}
		return nil
	})
	return below, writes, err
}

func (s *Server) demandRight(ctx context.Context, dn, attribute string, enough right, what string) error {
	have, err := s.privileges(ctx, dn, s.conf.UserDN, attribute)
	if err != nil || have&enough != 0 {
		return err
	}
	return notDone("check rights", dn, "grant "+s.conf.UserDN+" the right; nothing was written",
		fmt.Errorf("%w: %s may not %s %s", ErrNoAccess, s.conf.UserDN, what, dn))
}
