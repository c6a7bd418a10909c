package idm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover/internal/spool"
)

func (imp *importer) preflight(ctx context.Context) error {
	if err := imp.parents(ctx); err != nil {
		return err
	}
	if imp.in.bare != "" {
		if known, err := imp.server.Exists(ctx, imp.in.bare); err != nil {
			return err
		} else if !known {
			return imp.in.refuse(1, "<attributes>", "the file has no settings of the driver %s, which does not exist: "+
				"it is a part of a driver and cannot create one", imp.in.bare)
		}
	}
	if err := imp.unresolved(ctx); err != nil {
		return err
	}
	return imp.rights(ctx)
}

// parents checks that each object has its parent in the file or on the server, and is of the same class in both: that of
// an entry does not change (RFC 4512 §2.4.2).
func (imp *importer) parents(ctx context.Context) error {
	var path [][]byte
	return imp.each(ctx, func(w, h *object, key []byte) error {
		for len(path) > 0 && !keyBelow(key, path[len(path)-1]) {
			path = path[:len(path)-1]
		}
		defer func() { path = append(path, slices.Clone(key)) }()
		if w != nil && h != nil && w.class() != h.class() && slices.Contains(idmClasses, w.class()) &&
			slices.Contains(idmClasses, h.class()) {
			return imp.in.refuse(w.line, "objectClass", "%s is a %s in the directory and a %s in the file: decide which is right",
				h.dn, h.class(), w.class())
		}
		if h != nil || len(path) > 0 && bytes.Equal(path[len(path)-1], parentKey(key)) {
			return nil
		}
		parent := ParentDN(w.dn)
		if len(path) == 0 && parent != "" {
			known, err := imp.server.Exists(ctx, parent)
			if err != nil || known {
				return err
			}
		}
		return imp.in.refuse(w.line, "dn", "%s has no parent: %s is not in the file and not to be seen in the directory: %s", w.dn,
			parent, unseen)
	})
}

// unseen is what to look at before a file is changed: what the user may not see looks as if it did not exist.
const unseen = "see whether it exists, has a replica there and may be seen by the user"

// unresolved finds the first reference to something that neither the export nor the server has.
func (imp *importer) unresolved(ctx context.Context) error {
	named := spool.New(imp.in.tempDir, spoolMemory/4)
	defer named.Close() //nolint:errcheck // temporary files
	err := imp.each(ctx, func(w, _ *object, _ []byte) error {
		if w == nil {
			return nil
		}
		return w.named(named)
	})
	if err != nil {
		return err
	}
	all, err := named.Iterator()
	if err != nil {
		return err
	}
	key, what, end := all.Next()
	next := func() (dn, attribute, line string) {
		u := unpacker{b: what}
		dn, attribute, line = string(u.bytes()), string(u.bytes()), string(u.bytes())
		for last := bytes.Clone(key); end == nil && bytes.Equal(key, last); {
			key, what, end = all.Next()
		}
		return dn, attribute, line
	}
	lookUp := func(dn, attribute, line string) error {
		known, err := imp.server.Exists(ctx, dn)
		if err != nil || known {
			return err
		}
		n, _ := strconv.Atoi(line)
		return imp.in.refuse(n, attribute, "names %s, which is not in the file and not to be seen in the directory: %s", dn, unseen)
	}
	err = imp.each(ctx, func(_, _ *object, at []byte) error {
		for end == nil && bytes.Compare(key, at) <= 0 {
			there := bytes.Equal(key, at)
			if dn, attribute, line := next(); !there {
				if err := lookUp(dn, attribute, line); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for err == nil && end == nil {
		err = lookUp(next())
	}
	if err == nil && !errors.Is(end, io.EOF) {
		err = end
	}
	return err
}

// named collects what an object names, for a check against what exists.
func (o *object) named(into *spool.Spool) error {
	servers := Attribute{Name: serverList, Values: find(o.plain, serverList)}
	for _, a := range append(slices.Clone(o.refs), servers) {
		for _, v := range a.Values {
			dn, ok := referenceTarget(a.Name, string(v))
			if !ok || dn == "" {
				continue
			}
			key, err := sortKey(dn)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", o.dn, a.Name, err)
			}
			what := packBytes(packBytes(packBytes(nil, []byte(dn)), []byte(a.Name)), []byte(strconv.Itoa(o.line)))
			if err := into.Add(key, what); err != nil {
				return err
			}
		}
	}
	return nil
}

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
	for i := 0; err == nil && i < len(writes); i++ {
		w := writes[i]
		err = s.demandRight(ctx, w.dn, w.attribute, rightsToWrite, "write "+w.attribute+" of")
	}
	if unsupported(err) {
		return nil
	}
	imp.report.RightsVerified = err == nil
	return err
}

// demand is one attribute that changes, and the first object on which it does. Rights are inherited downwards, so that
// one question for each attribute says most of what there is to know.
type demand struct{ attribute, dn string }

// demands returns under what the first new object comes, and what changes on existing ones.
func (imp *importer) demands(ctx context.Context) (below string, writes []demand, err error) {
	asked := map[string]bool{}
	var path []string // existing objects above the one at hand
	err = imp.each(ctx, func(w, h *object, _ []byte) error {
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
			for _, d := range imp.all(w, h) {
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
