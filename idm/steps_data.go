package idm

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// secretsNeeded returns every need on the target, from the server that can be asked and from what the caller knows.
func (m *mover) secretsNeeded(ctx context.Context) (SecretList, error) {
	from := m.source
	if from == nil {
		from = m.Target
	}
	list, err := from.SecretsNeeded(ctx, m.DriverSet, m.Drivers, m.Target.DN())
	if err != nil {
		return list, err
	}
	noted, err := m.exportSecrets(ctx)
	all := slices.Concat(list.Needs, m.Secrets, noted)
	for i := range all {
		if all[i].Server != "" {
			all[i].Server = m.Target.DN() // what an export says of its own server is needed here
		}
	}
	list.Needs = joined(all)
	return list, err
}

// exportManifest is what the export says of itself; empty where there is none.
func (m *mover) exportManifest() (Manifest, error) {
	if m.export == "" {
		return Manifest{}, nil
	}
	src, closer, err := OpenExport(m.export)
	if err != nil {
		return Manifest{}, err
	}
	return *src.Manifest, closer.Close()
}

// exportSecrets returns the needs the export's manifest lists for the drivers that move: the source cannot be asked any
// more.
func (m *mover) exportSecrets(ctx context.Context) ([]SecretNeeded, error) {
	kept, err := m.exportManifest()
	if err != nil || len(kept.Secrets) == 0 {
		return nil, err
	}
	sel, err := m.Target.selection(ctx, ServerDataOptions{DriverSet: m.DriverSet, Drivers: m.Drivers})
	return slices.DeleteFunc(kept.Secrets, func(n SecretNeeded) bool { return !sel.includes(n.Object) }), err
}

func needKey(n SecretNeeded) string {
	return strings.ToLower(n.Kind.String()+"|"+n.Object+"|") + n.Name // a name is compared as it is written
}

// passwords returns the steps around the passwords: what is needed, setting it, and what is left for a person.
func (m *mover) passwords() []failover.Step {
	const source = fromWiki +
		`"You may also need to set passwords if you've forgotten them or they don't copy properly. If you imported driver exports to get server-specific data on the new server you will definitely need to set the relevant driver passwords because those are not exported for security reasons."`
	needed := failover.Step{ID: "passwords-needed", Title: "List the passwords the target needs", Target: m.Target.DN(),
		Kind: failover.Check, Guards: m.needed, Source: source,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			list, err := m.secretsNeeded(ctx)
			if err != nil {
				return failover.Observation{}, err
			}
			obs := failover.Observation{Done: len(list.Gaps) == 0,
				Found: fmt.Sprintf("%d passwords are needed", len(list.Needs))}
			if len(list.Gaps) > 0 {
				obs.Found += fmt.Sprintf("; %d things are not known and left to a person, who waives this check", len(list.Gaps))
			}
			for _, n := range list.Needs {
				obs.Items = append(obs.Items, failover.Item{Target: n.Object, Done: true, Found: needText(n)})
			}
			for _, gap := range list.Gaps {
				obs.Items = append(obs.Items, failover.Item{Target: m.DriverSet, Found: gap})
			}
			return obs, nil
		}}
	steps := []failover.Step{needed}
	if m.Passwords != nil {
		steps = append(steps, m.setPasswords(source))
	}
	// The manual step stands in every procedure: who adds passwords to the file of a run that has begun goes on with it.
	return append(steps, m.passwordsByHand(source), m.passwordsComplete(source))
}

// passwordsByHand is a person's word where there is no source of passwords.
func (m *mover) passwordsByHand(source string) failover.Step {
	step := failover.Step{ID: stepByHand, Title: "Set the passwords on the target by hand", Target: m.Target.DN(),
		Kind: failover.Manual, Source: source,
		Help: "Set each password that " + stagePrepare + "/passwords-needed lists, on " + m.Target.DN() + ": in iManager " +
			"or Designer choose this server, then the driver's properties, Driver Configuration (application password, " +
			"Remote Loader password, driver object password) and Named Passwords. Passwords are values of one server; the " +
			"driver object password is not: it must stay what the Remote Loader has. Nothing but the names of named " +
			"passwords can be read back: only a start of the driver proves them."}
	if m.Passwords != nil {
		step.Observe = func(context.Context) (failover.Observation, error) {
			return failover.Observation{Done: true, Found: "nothing to do by hand: there is a source of passwords"}, nil
		}
	}
	return step
}

func needText(n SecretNeeded) string {
	text := n.title() + ": " + n.Because
	if len(n.NeededBy) > 0 {
		text += " (asked for by " + strings.Join(n.NeededBy[:min(len(n.NeededBy), 5)], "; ") + ")"
	}
	return text
}

// passwordRows tells for every need how far its password has come. Where a person sets them, the check stands behind
// that person's word, and only the named ones can be looked at. open tells whether one is still to be asked for.
func (m *mover) passwordRows(ctx context.Context) (rows []failover.Item, open bool, err error) {
	list, err := m.secretsNeeded(ctx)
	if err != nil {
		return nil, false, err
	}
	states, err := factPasswords.Load(ctx)
	if err != nil {
		return nil, false, err
	}
	var holders []string
	for _, n := range list.Needs {
		if n.Kind == SecretNamed && !slices.Contains(holders, n.Object) {
			holders = append(holders, n.Object)
		}
	}
	listed, failed := m.Target.namedPasswordsOf(ctx, holders)
	for _, n := range list.Needs {
		state, tried := states[needKey(n)]
		if n.Kind == SecretNamed {
			if err := failed[n.Object]; err != nil && !unsupported(err) {
				return nil, false, err
			}
			if isListed(listed[n.Object], n.Name) {
				state = PasswordListed
			} else if state == PasswordListed {
				state = passwordLeft
			}
		}
		open = open || !tried || state == PasswordMissing
		row := failover.Item{Target: secretName(n), Done: true}
		state = cmp.Or(state, PasswordMissing)
		switch {
		case m.Passwords == nil && (n.Kind != SecretNamed || failed[n.Object] != nil):
			row.Found = n.title() + ": to be set by hand; proven only by a start of the driver"
		case state == PasswordMissing && !tried:
			row.Done, row.Found = false, n.title()+": "+state.String()+" or not known"
		default:
			row.Done, row.Found = state == PasswordListed || state == PasswordUnverified, n.title()+": "+state.String()
		}
		rows = append(rows, row)
	}
	return rows, open, nil
}

// secretName tells one password from the others of the same object.
func secretName(n SecretNeeded) string { return n.Object + ": " + n.title() }

func (m *mover) setPasswords(source string) failover.Step {
	return failover.Step{ID: "passwords", Writes: []string{factPasswords.Name}, Title: "Set the passwords on the target",
		Target: m.Target.DN(), Kind: failover.Change, Poll: m.Poll, Timeout: m.allDrivers(m.StopTimeout), Source: source,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			rows, open, err := m.passwordRows(ctx)
			if err != nil {
				return failover.Observation{}, err
			}
			obs := summary(rows, "passwords set")
			obs.Would = "fetch each password and set it on the target"
			obs.Done = !open // a password that nobody had twice is not this step's to wait for: the next step shows it
			return obs, nil
		},
		Apply: func(ctx context.Context) error {
			list, err := m.secretsNeeded(ctx)
			if err != nil {
				return notApplied(err)
			}
			states, err := factPasswords.Load(ctx)
			if err != nil {
				return notApplied(err)
			}
			// One after the other: a person may be asked for them.
			return failover.EachTarget(ctx, 1, list.Needs, secretName, func(ctx context.Context, n SecretNeeded) error {
				before, tried := states[needKey(n)]
				if tried && before != PasswordMissing {
					return nil
				}
				state, err := m.Target.SetSecret(ctx, n, m.Passwords)
				if err != nil {
					return err
				}
				failover.Progress(ctx, commonName(n.Object)+": "+n.title()+" "+state.String())
				if tried && state == PasswordMissing {
					state = passwordLeft
				}
				err = factPasswords.Put(ctx, needKey(n), state)
				if err == nil && state == PasswordMissing {
					// A step that is done is not done again, also when somebody has found the password meanwhile.
					err = unmet("set "+n.title()+" of", n.Object, "add it to the source and run again; where it is not needed "+
						"or was set by hand, run again and waive "+stagePrepare+"/passwords-complete", n.title()+": missing")
				}
				return err
			})
		},
		// A password on a server whose drivers are disabled does nothing.
		Undo: failover.NothingToUndo}
}

func (m *mover) passwordsComplete(source string) failover.Step {
	return failover.Step{ID: "passwords-complete", Title: "Check that no password is missing on the target",
		Target: m.Target.DN(), Kind: failover.Check, Guards: m.needed, Source: source,
		Observe: func(ctx context.Context) (failover.Observation, error) {
			rows, _, err := m.passwordRows(ctx)
			if err != nil {
				return failover.Observation{}, err
			}
			return summary(rows, "passwords set (set is not proven right: only a start proves it)"), nil
		}}
}

// edirShim is a part of the class name of the eDir-to-eDir driver (inferred). The bidirectional driver is another one:
// it is a client of LDAP and listens on no port.
const edirShim = ".driver.nds."

var kmoName = regexp.MustCompile(`(?i)\bkmo='([^']*)'|\bkmo=([^\s)]+)`)

// references shows what each driver refers to and looks for the certificates as far as LDAP shows them.
func (m *mover) references() []failover.Step {
	const source = fromWiki +
		`"Keep In Mind: Depending on the driver you may need to reconfigure some stuff to make this work. For example if SSL is used between this driver and another driver (eDir driver) or a Remote Loader you'll need to make sure that reference still works. ` +
		`With the eDir drivers if you added this server after the original server was working you'll need to recreate your certificates between the servers. No big deal but it's something to do."`
	held := ", and see that the old engine holds no connection there"
	if m.source != nil { // until the drivers move it does
		held = ""
	}
	return []failover.Step{
		{ID: "references", Title: "Check Remote Loader and certificate references as far as the directory shows them",
			Target: m.Target.DN(), Kind: failover.Check, Guards: m.needed, Source: source,
			Observe: func(ctx context.Context) (failover.Observation, error) {
				ports, err := m.localPorts(ctx)
				if err != nil {
					return failover.Observation{}, err
				}
				return m.look(ctx, "references without an objection",
					func(ctx context.Context, driver string) (failover.Item, error) {
						return m.reference(ctx, driver, ports)
					})
			}},
		{ID: stepWorks, Title: "Make sure the references work from the target", Target: m.Target.DN(),
			Kind: failover.Manual, Source: source,
			Help: "For each driver the step before calls Remote Loader: from " + m.Target.DN() + " reach the host and port it " +
				"names (firewall, certificate)" + held + ". " +
				"For each eDir-to-eDir driver: if this server was added after the original one was working, run the NDS-to-NDS " +
				"(eDir-to-eDir) certificate wizard in iManager between this server and the partner's server - NCP 524 must be " +
				"open between the trees, the driver's name is typed without cn= or ou=, the configuration names the certificate " +
				"without the \"- server\" suffix, and certificates expire after two years by default. Change the remote address " +
				"of the partner's driver to this server when the drivers have moved, not before. For a shim that uses local " +
				"files, libraries or accounts: see that they exist here. If no driver is of these kinds, there is nothing to do."},
	}
}

// edirAddress is the address of an eDir-to-eDir driver, "remote address:remote port:local port"; without the third the
// driver listens on the same port (documented).
var edirAddress = regexp.MustCompile(`^.+?:(\d+)(?::(\d+))?$`)

// localPort returns the port an eDir-to-eDir driver listens on, "" for an address of another form.
func localPort(address string) string {
	found := edirAddress.FindStringSubmatch(strings.TrimSpace(address))
	if found == nil {
		return ""
	}
	return cmp.Or(found[2], found[1])
}

// addressed are the attributes that tell whereto a driver talks.
var addressed = []string{"DirXML-JavaModule", "DirXML-NativeModule", "DirXML-ShimAuthServer", "DirXML-ShimAuthID"}

func shim(e Entry) (module string, edir bool) {
	module = e.Text("DirXML-JavaModule") + e.Text("DirXML-NativeModule")
	return module, strings.Contains(strings.ToLower(module), edirShim)
}

// localPorts returns the eDir-to-eDir drivers of the driver set by the port each listens on, as set on the target: two
// drivers on one port cannot both start there (documented).
func (m *mover) localPorts(ctx context.Context) (map[string][]string, error) {
	ports := map[string][]string{}
	q := Query{Base: m.DriverSet, Scope: ScopeOne, Filter: "(objectClass=DirXML-Driver)", Attributes: addressed}
	for e, err := range m.Target.Entries(ctx, q) {
		if err != nil {
			return nil, err
		}
		port := localPort(e.Text("DirXML-ShimAuthServer"))
		if _, edir := shim(e); edir && port != "" {
			ports[port] = append(ports[port], e.DN)
		}
	}
	return ports, nil
}

// reference looks at one driver's address. Per-server values are read on the target: they are what the start will use.
func (m *mover) reference(ctx context.Context, driver string, ports map[string][]string) (failover.Item, error) {
	e, err := m.Target.Read(ctx, driver, addressed...)
	if err != nil {
		return failover.Item{}, err
	}
	address := e.Text("DirXML-ShimAuthServer")
	module, edir := shim(e)
	f := failover.Item{Done: true, Found: "local shim " + module + "; what it refers to was not looked at"}
	certificate := ""
	switch {
	case strings.Contains(address, "REMOTE("):
		f.Found = "Remote Loader " + address
	case module == remoteLoaderShim:
		f = failover.Item{Found: "works through a Remote Loader, whose address is not set on this server"}
	case edir:
		f.Found = "eDir-to-eDir driver to " + cmp.Or(address, "an address that is not set on this server")
		port := localPort(address)
		if f.Done = port != ""; address != "" && port == "" {
			f.Found += ", which is neither host:port nor host:port:port"
		}
		for _, other := range ports[port] {
			if !SameDN(other, driver) {
				f.Done, f.Found = false, f.Found+", whose local port "+port+" is also that of "+commonName(other)
			}
		}
		// The certificate wizard writes the name of the certificate into the authentication ID (documented).
		certificate = strings.TrimSpace(e.Text("DirXML-ShimAuthID"))
	}
	if found := kmoName.FindStringSubmatch(address); found != nil {
		certificate = strings.Trim(found[1]+found[2], `"`)
	}
	if certificate == "" {
		return f, nil
	}
	good, text, err := m.certificate(ctx, certificate)
	f.Done, f.Found = f.Done && good, f.Found+", certificate "+certificate+" "+text
	return f, err
}

// certificate looks for the certificate object of this server, "<name> - <server>" beside the server (seen names), and
// at its end date (class and attribute are inferred).
func (m *mover) certificate(ctx context.Context, name string) (good bool, text string, err error) {
	server := m.Target.DN()
	entries, err := m.Target.Find(ctx, Query{Base: ParentDN(server), Scope: ScopeOne,
		Attributes: []string{"nDSPKIPublicKeyCertificate"},
		Filter:     "(&(objectClass=nDSPKIKeyMaterial)(cn=" + escapeFilter(name+" - "+commonName(server)) + "))"})
	switch {
	case err != nil:
		return false, "", err
	case len(entries) == 0:
		return false, "is not on this server: create it, or name another one", nil
	}
	parsed, err := x509.ParseCertificate(entries[0].Value("nDSPKIPublicKeyCertificate"))
	switch {
	case err != nil:
		return true, "is on this server; when it ends cannot be read", nil
	case time.Now().After(parsed.NotAfter):
		return false, "has ended on " + parsed.NotAfter.UTC().Format(time.DateOnly) + ": create it again", nil
	}
	return true, "is on this server and ends on " + parsed.NotAfter.UTC().Format(time.DateOnly), nil
}
