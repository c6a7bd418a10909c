package idm

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover/internal/drivercfg"
)

// readConfiguration reads the XML of one driver.
func (in *incoming) readConfiguration(content io.Reader) error {
	in.partial = true
	r, err := drivercfg.NewReader(in.name, content, drivercfg.Limits{Value: maxExportValue})
	if err != nil {
		return err
	}
	h := r.Header()
	in.base = cmp.Or(in.target, h.DN)
	if checkDN("dn", in.base) != nil {
		return in.refuse(1, "<driver-configuration>",
			"the file does not say which driver it is (dn is %q): name it in ImportOptions.Driver", h.DN)
	}
	err = r.Each(func(from *drivercfg.Object) error {
		for _, s := range from.Skipped {
			in.skip("%d: <%s>: %s", s.Line, s.Element, s.Reason)
		}
		if from.Class == "" {
			return nil
		}
		obj, err := in.fromConfiguration(from, h)
		if err != nil {
			return err
		}
		if err := in.queries(from, obj.dn); err != nil {
			return err
		}
		in.note("")
		if len(from.Path) == 0 && len(from.Attributes) == 0 {
			in.bare = obj.dn
		}
		if err := in.objects.add(obj); err != nil {
			return in.refuse(from.Line, "name", "%v", err)
		}
		return nil
	})
	if in.more > 0 {
		in.skipped = append(in.skipped, fmt.Sprintf("… and %d more parts", in.more))
	}
	return err
}

func (in *incoming) fromConfiguration(from *drivercfg.Object, h drivercfg.Header) (*object, error) {
	obj := &object{dn: in.base, line: from.Line, made: true}
	for _, name := range from.Path {
		obj.dn = "cn=" + ldap.EscapeDN(name) + "," + obj.dn
	}
	obj.plain = []Attribute{Text("objectClass", "Top", from.Class), Text("cn", commonName(obj.dn))}
	job := from.Class == "DirXML-Job"
	for _, a := range from.Attributes {
		if strings.EqualFold(a.Name, "cn") || strings.EqualFold(a.Name, "objectClass") {
			return nil, in.refuse(a.Line, a.Name, "follows from the place in the file and cannot stand in it")
		}
		role := in.roles.in(a.Name, job)
		if role == roleReference {
			a.Values = moved(a.Name, a.Values, h, in.base)
		}
		if err := in.take(obj, a, role); err != nil {
			return nil, err
		}
	}
	if job && find(obj.plain, serverList) == nil {
		switch {
		case len(in.jobServers) > 0:
			obj.plain = append(obj.plain, Text(serverList, in.jobServers...))
		case in.server != "":
			// Only for a job that has to be created: one that is there keeps its servers, or it would run on two.
			obj.notes = append(obj.notes, Text(serverList, in.server))
		}
	}
	return obj, nil
}

// moved rewrites references from the tree of the file to where its driver is written: into the driver, and into its
// driver set.
func moved(attribute string, values [][]byte, h drivercfg.Header, base string) [][]byte {
	out := make([][]byte, len(values))
	for i, v := range values {
		out[i] = v
		dn, ok := referenceTarget(attribute, string(v))
		if !ok || dn == "" {
			continue
		}
		tail := string(v)[len(dn):]
		for _, from := range [][2]string{{h.DN, base}, {h.DriverSetDN, ParentDN(base)}} {
			if to, ok := rebase(dn, from[0], from[1]); ok {
				out[i] = []byte(to + tail)
				break
			}
		}
	}
	return out
}

// rebase replaces the ancestor from of dn by to. It leaves the names below as they are written.
func rebase(dn, from, to string) (string, bool) {
	if from == "" || to == "" || checkDN("dn", dn) != nil || !SameDN(dn, from) && !belowDN(dn, from) {
		return "", false
	}
	cut := 0
	for range pathBelow(dn, from) { // find the comma behind the last name that stays
		cut += len(firstRDN.FindString(dn[cut:]))
	}
	return dn[:cut] + to, true
}

// firstRDN is the first name of a DN with what separates it from the next.
var firstRDN = regexp.MustCompile(`^(?s:\\.|[^\\,;])*[,;]`)

// queries turns placeholders into the secrets someone has to set.
func (in *incoming) queries(from *drivercfg.Object, dn string) error {
	for _, q := range from.Queries {
		n := SecretNeeded{Object: dn, Name: q.Name, DisplayName: q.DisplayName,
			Because: fmt.Sprintf("%s:%d: the file asks for it (%s)", in.name, q.Line, q.Element)}
		if q.InClear {
			n.Because = fmt.Sprintf("%s:%d: the file carries it in clear text (%s), from where it is not taken", in.name, q.Line,
				q.Element)
		}
		if n.Kind = secretOf[q.Kind]; n.Kind == 0 {
			in.skip("%d: <%s> of %s: to be set by hand", q.Line, q.Element, dn)
			continue
		}
		in.secrets.add(n, dn)
		if len(in.secrets.list) > maxSecrets {
			return in.refuse(q.Line, "<"+q.Element+">", "the file asks for more than %d passwords", maxSecrets)
		}
	}
	return nil
}
