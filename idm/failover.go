package idm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/behind"
	"github.com/01b61c5c/failover/internal/enum"
)

// GapPolicy says whether the events lost with the source are caught up.
type GapPolicy int

const (
	// GapClose synchronizes what changed since the time the source was last known to work.
	GapClose GapPolicy = iota
	// GapLeave asks for no synchronization at all.
	GapLeave
)

// String returns "close" or "leave".
func (g GapPolicy) String() string {
	return enum.Name([]string{GapClose: "close", GapLeave: "leave"}, g)
}

// ServerDataFrom says where the target's per-server values come from in a failover.
type ServerDataFrom int

const (
	// ServerDataFromPreparation: the standby was prepared and has them already.
	ServerDataFromPreparation ServerDataFrom = iota
	// ServerDataFromExport: the per-server values of the source in the export are written. Where the export's replicated
	// part is not what the directory holds, the step is refused: old policies would come back.
	ServerDataFromExport
	// ServerDataFromExportWhole: the export is imported over the drivers as it is, as the published procedure has it.
	ServerDataFromExportWhole
)

// FailoverOptions says what is failed over.
type FailoverOptions struct {
	Route
	// SourceDN is the DN of the server that is gone.
	SourceDN string
	// SourceDead is a person's statement that the source is down and cannot come back by itself. It is required: nothing
	// else stands between the source and two active servers.
	SourceDead failover.Statement
	// TrySource, when given, is used to look whether the source answers after all, at the beginning and again right before
	// drivers are enabled or started. While it answers with a driver that is not stopped and disabled, nothing is started.
	TrySource func(context.Context) (*Server, error)

	// Gap and Since: everything created or changed since the moment the source was last known to work is synchronized. A
	// driver that was behind took older events with it: then give the time up to which the slowest one had worked
	// everything off.
	Gap   GapPolicy
	Since time.Time

	// Data says where the per-server values come from, Export the file.
	Data   ServerDataFrom
	Export KeptExport
}

// Failover brings the drivers up on the target when the source is gone. What cannot be observed, that the source is
// dead, enters as a statement. The way back is [Failback], after [GuardOldServer].
func Failover(o FailoverOptions) (failover.Procedure, error) {
	stages, err := FailoverStages(o)
	if err != nil {
		return failover.Procedure{}, err
	}
	since := "never: the gap is left"
	if o.Gap != GapLeave {
		since = o.Since.UTC().Format(time.RFC3339)
	}
	return o.procedure("idm.Failover", o.SourceDN, stages, failover.Parameter{Name: "since", Value: since})
}

// FailoverStages returns the stages of [Failover]. It refuses options that could not work, and touches nothing.
func FailoverStages(o FailoverOptions) (Stages, error) {
	r, err := o.withDefaults()
	if err == nil {
		err = cmp.Or(checkDN("source", o.SourceDN), o.validate())
	}
	if err != nil {
		return Stages{}, err
	}
	m := &mover{Route: r, sourceDN: o.SourceDN, gap: o.Gap, needed: untilStart, served: untilStart, trySource: o.TrySource}
	if o.Data != ServerDataFromPreparation {
		m.export = o.Export.Path
	}
	dead := []failover.Step{m.sourceDead(o.SourceDead)}
	if o.TrySource != nil {
		dead = append(dead, m.sourceSilent())
	}
	since := o.Since.Add(-m.Margin)
	return Stages{
		Dead:  failover.Stage{Name: "dead", Outage: true, Steps: dead},
		Check: failover.Stage{Name: "check", Outage: true, Steps: []failover.Step{m.servers(), m.rights(), m.replicas()}},
		Prepare: failover.Stage{Name: stagePrepare, Outage: true,
			Steps: slices.Concat([]failover.Step{m.inSet(), m.engineServes(), m.targetQuiet(), m.serverData(o)}, m.passwords(),
				m.references())},
		Start:  failover.Stage{Name: stageStart, Outage: true, Steps: []failover.Step{m.enable(), m.start()}},
		Moved:  m.moved(func(context.Context, string) (time.Time, bool, error) { return since, true, nil }),
		Guard:  failover.Stage{Name: "guard", Steps: []failover.Step{m.guardReminder()}},
		Finish: m.finish(),
	}, nil
}

func (m *mover) sourceDead(said failover.Statement) failover.Step {
	dead := said.Step("source-dead", "State that the source is down and cannot come back by itself", m.sourceDN)
	dead.Source = fromWiki + `"Be sure your original server doesn't come up with the drivers running until you are ready as it may try to create connections to the applications and cause some fun there."`
	dead.Guards = untilAuto // as what can be seen of the source
	dead.Help = "Cut power or network of the source, or stop its directory service and disable its start. Its drivers are " +
		"still on Auto there, in its own unreplicated values: it would start them by itself."
	return dead
}

func (o FailoverOptions) validate() error {
	if err := o.SourceDead.Validate("FailoverOptions.SourceDead"); err != nil {
		return err
	}
	switch {
	case SameDN(o.SourceDN, o.Target.DN()):
		return failover.Invalid("source", o.SourceDN+" is also the target", "name two servers")
	case o.Gap != GapClose && o.Gap != GapLeave:
		return failover.Invalid("FailoverOptions.Gap", fmt.Sprintf("is %d", o.Gap), "use GapClose or GapLeave")
	case o.Gap == GapClose && o.Since.Unix() <= 0:
		return failover.Invalid("FailoverOptions.Since", "is not set",
			"give the time the source was last known to work, or choose GapLeave")
	case o.Gap == GapClose && o.Since.After(time.Now()):
		return failover.Invalid("FailoverOptions.Since", "lies in the future",
			"give the time the source was last known to work")
	case o.Gap == GapLeave && !o.Since.IsZero():
		return failover.Invalid("FailoverOptions.Since", "is set although the gap is to be left",
			"leave it out, or choose GapClose")
	case o.Data < ServerDataFromPreparation || o.Data > ServerDataFromExportWhole:
		return failover.Invalid("FailoverOptions.Data", fmt.Sprintf("is %d", o.Data), "use a constant of this package")
	case o.Data != ServerDataFromPreparation:
		return o.Export.validate("FailoverOptions.Export")
	}
	return nil
}

// sourceSilent refuses to go on while the server that was stated dead answers.
func (m *mover) sourceSilent() failover.Step {
	return failover.Step{ID: "source-silent", Title: "Look whether the source answers after all", Target: m.sourceDN,
		Kind: failover.Check, Firm: true, Guards: untilAuto, Observe: m.lookAtSource,
		Source: ours + "a statement is checked against what can be seen"}
}

// sourceTime is how long one try to reach a server that should be dead may take.
const sourceTime = 20 * time.Second

// lookAtSource tells whether the source, stated dead, is silent or at least inactive.
func (m *mover) lookAtSource(ctx context.Context) (failover.Observation, error) {
	dialling, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	s, err := m.trySource(dialling)
	switch {
	case away(ctx, err):
		return failover.Observation{Done: true, Found: "the source does not answer", Note: err.Error()}, nil
	case errors.Is(err, errOtherName):
		return failover.Observation{Done: true, Found: "another server answers in the source's place"}, nil
	case err != nil:
		return failover.Observation{}, err
	}
	defer s.Close() //nolint:errcheck // nothing is lost
	if !SameDN(s.DN(), m.sourceDN) {
		return failover.Observation{Done: true, Found: s.DN() + " answers in the source's place"}, nil
	}
	obs, err := m.look(ctx, "inactive on the source, which answers",
		func(ctx context.Context, driver string) (failover.Item, error) {
			st, err := s.Status(ctx, driver)
			if notServed(err) {
				return notServedOn(ctx, s, m.DriverSet)
			}
			return failover.Item{Done: st.out(), Found: st.String() + " on the source"}, err
		})
	obs.Note = "while the source lives use Switchover; or switch it off and run again"
	return obs, err
}

// notServedOn tells how a driver stands on a server whose engine does not serve it. One that is coming up answers before
// its engine is loaded, and an engine serves a driver set that it joined when it is loaded again (seen): then it starts
// what is Auto. Only a server that has left the set will not.
func notServedOn(ctx context.Context, s *Server, setDN string) (failover.Item, error) {
	list, err := s.ServerList(ctx, setDN)
	if err == nil && len(list) > 0 && !containsDN(list, s.DN()) {
		return failover.Item{Done: true, Found: "the server has left the driver set"}, nil
	}
	return failover.Item{Found: "its engine does not serve it yet, or no more: stop the directory service there"}, err
}

// away reports whether err says that no server is there. A look that was cut short, or that nobody took, says nothing.
func away(ctx context.Context, err error) bool {
	return errors.Is(err, ErrUnreachable) && ctx.Err() == nil && asked(err)
}

// asked reports whether an attempt to connect left this machine: a name that could not be looked up, too many open
// files or a rule of the firewall here say nothing of the server (connect(2)), nor does a tunnel that is down.
func asked(err error) bool {
	_, unresolved := errors.AsType[*net.DNSError](err)
	return !unresolved && !slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL,
		syscall.EPERM, syscall.EACCES, ErrLineLost}, func(ours error) bool { return errors.Is(err, ours) })
}

// sourceStillOut looks once more right before something is enabled or started: a source that somebody switched on
// meanwhile has started its drivers by itself. It does nothing where the source takes part in the procedure, which is
// looked at driver by driver. next says what helps: the guard disables on the source only what is enabled on the
// target.
func (m *mover) sourceStillOut(ctx context.Context, next string) error {
	if m.trySource == nil {
		return nil
	}
	obs, err := m.lookAtSource(ctx)
	if err != nil {
		return notApplied(err)
	}
	if !obs.Done {
		return unmet("start drivers on", m.Target.DN(), next, "the source answers: "+obs.Found)
	}
	return nil
}

// serverData brings the per-server values to the target, or sees that they are there.
func (m *mover) serverData(o FailoverOptions) failover.Step {
	const source = fromWiki +
		`"If you did not have the server in the DriverSet already add it and import the driver exports over the driver objects to this server in the DriverSet so all server-specific data are present on this server. Replicas are in place already for this to work as mentioned in Step 0."`
	step := failover.Step{ID: "server-data", Title: "Have the per-server values on the target", Target: m.Target.DN(),
		Source: source}
	if o.Data == ServerDataFromPreparation {
		step.Kind, step.Guards = failover.Check, m.served
		return m.looks("with settings on the target", "", func(ctx context.Context, driver string) (failover.Item, error) {
			e, err := m.Target.Read(ctx, driver, "DirXML-ShimConfigInfo", "DirXML-ConfigValues")
			if err == nil && len(e.Value("DirXML-ShimConfigInfo")) == 0 {
				return failover.Item{Found: "no shim parameters on this server: it was not prepared; use ServerDataFromExport"}, nil
			}
			return failover.Item{Done: true, Found: "shim parameters are there"}, err
		}).Step(step)
	}
	step.Kind, step.Poll, step.Timeout = failover.Change, m.Poll, time.Hour
	step.Observe = func(ctx context.Context) (failover.Observation, error) { return m.compareExport(ctx, o) }
	step.Apply = func(ctx context.Context) error { return m.importExport(ctx, o) }
	if o.Data != ServerDataFromExportWhole { // which overwrites what the directory held for all servers
		step.Undo = failover.NothingToUndo // values of a server whose drivers are disabled do nothing
	}
	return step
}

// compareExport looks what an import would write; the export must be good for it.
func (m *mover) compareExport(ctx context.Context, o FailoverOptions) (failover.Observation, error) {
	if kept := o.Export.check(time.Now(), m.sourceDN, m.Drivers); !kept.Done {
		return failover.Observation{}, unmet("check export", o.Export.Path,
			"use an export that is complete and current, or raise the age that is allowed", kept.Found)
	}
	var rows []failover.Item
	replicated := 0
	err := m.eachPart(ctx, o, func(src ExportSource, part ImportOptions) error {
		c, err := m.Target.Verify(ctx, src, part)
		if err != nil {
			return err
		}
		open := 0
		for _, d := range c.Differences {
			if d.Kind == DifferenceOnlyOnServer {
				continue // an import leaves what the server has beyond the export
			}
			if open++; d.Server == "" {
				replicated++
			}
		}
		text := fmt.Sprintf("%d values differ", open)
		if c.Unlisted > 0 {
			replicated, text = replicated+1, text+" and more"
		}
		rows = append(rows, failover.Item{Target: cmp.Or(part.Driver, m.DriverSet), Done: open == 0 && c.Unlisted == 0,
			Found: text})
		return nil
	})
	if err != nil {
		return failover.Observation{}, err
	}
	obs := summary(rows, "with the export's values")
	obs.Would = "import the export with the values of " + m.sourceDN
	if replicated > 0 && o.Data == ServerDataFromExport {
		return obs, unmet("compare export with", m.Target.DN(),
			"look at idm.Verify; choose ServerDataFromExportWhole if the export is to win over the directory",
			fmt.Sprintf("the export differs from the directory in %d replicated values or objects", replicated))
	}
	return obs, nil
}

func (m *mover) importExport(ctx context.Context, o FailoverOptions) error {
	return m.eachPart(ctx, o, func(src ExportSource, part ImportOptions) error {
		_, err := m.Target.Import(ctx, src, part)
		return err
	})
}

// eachPart opens the export for each part of it that is taken, up to the first one with an error.
func (m *mover) eachPart(ctx context.Context, o FailoverOptions, do func(ExportSource, ImportOptions) error) error {
	parts, err := m.exportParts(ctx)
	if err != nil {
		return notApplied(err)
	}
	for i, driver := range parts {
		src, closer, err := OpenExport(o.Export.Path)
		if err == nil {
			err = do(src, ImportOptions{Driver: driver, ValuesOf: m.sourceDN, MaxAge: o.Export.MaxAge})
			_ = closer.Close() // only read
		}
		if err != nil && i > 0 {
			return behind.Effect(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// exportParts names what is taken from the export, one import each: "" is the whole driver set. Where other drivers
// stay, theirs are left alone, and with them the values of the driver set itself.
func (m *mover) exportParts(ctx context.Context) ([]string, error) {
	sel, err := m.Target.selection(ctx, ServerDataOptions{DriverSet: m.DriverSet, Drivers: m.Drivers})
	if err != nil || len(sel.leftOut) > 0 {
		return m.Drivers, err
	}
	return []string{""}, nil
}

func (m *mover) guardReminder() failover.Step {
	return failover.Step{ID: "guard-old-server", Title: "Set the guard over the old server", Target: m.sourceDN,
		Kind:   failover.Manual,
		Source: fromWiki + `"Be sure your original server doesn't come up with the drivers running until you are ready"`,
		Help: "Start GuardOldServer (or WatchOldServer) for " + m.sourceDN + " before anybody switches it on or connects " +
			"it: its drivers are still on Auto in its own values. Confirm when the guard runs, or say why none is needed."}
}
