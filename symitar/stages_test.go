package symitar_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// TestNoStageIsLeftOut adds a firm check that never holds to each stage, of OpCon's and of the package's own, also to
// stages that come later, and wants it in the procedure, once and at the right place: each stage where the
// documentation of Stages has it.
func TestNoStageIsLeftOut(t *testing.T) {
	sim := symitartest.Start(t)
	client, err := opcon.New(opcon.Config{URL: "https://opcon.example",
		Token: func(context.Context) (failover.Secret, error) { return failover.NewSecret("t"), nil }})
	require.NoError(t, err)
	cfg := sim.Config()
	cfg.OpCon = &symitar.OpCon{Client: client, Machine: "SYMAIX", Reason: "CHG0042", Repoint: opcon.RepointAliasMoves}
	pair, err := symitar.NewPair(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = pair.Close() })
	order := []string{"Statement", "Preflight", "Check", "Hold", "Drain", "Down", "Quiet", "Macro", "Verify", "Archive",
		"Repoint", "Agent", "Prove", "Decide", "Release"}
	for _, purpose := range []symitar.Purpose{symitar.PurposeSwitchover, symitar.PurposeFailback,
		symitar.PurposeFailover} {
		p, err := pair.Changed(purpose, func(s *symitar.Stages) {
			stages := fields(reflect.ValueOf(s).Elem())
			require.Len(t, stages, len(order), "use the new stage in every procedure, or say why not")
			for field, stage := range stages {
				if stage.Name == "" {
					require.Equal(t, "Statement", field)
					stage.Name = "statement"
				}
				stage.Steps = append(stage.Steps,
					failover.Step{ID: "mutant-" + field, Title: "Never", Kind: failover.Check, Firm: true,
						Observe: func(context.Context) (failover.Observation, error) { return failover.Observation{}, nil }})
			}
		})
		require.NoError(t, err)
		var got []string
		for _, stage := range p.Stages {
			require.Equal(t, stage.Name == "macro", stage.Outage, stage.Name)
			for _, s := range stage.Steps {
				if s.Title == "Never" {
					got = append(got, s.ID[len("mutant-"):])
				}
			}
		}
		require.Equal(t, order, got, purpose)
	}
}

// TestWhatMayBeCorrectedIsNoParameter: what OpCon's steps advise is possible in the same journal.
func TestWhatMayBeCorrectedIsNoParameter(t *testing.T) {
	cfg := symitartest.Start(t).Config()
	parameters := func(repoint opcon.Repoint, partner string, keep ...string) []failover.Parameter {
		client, err := opcon.New(opcon.Config{URL: "https://opcon.example",
			Token: func(context.Context) (failover.Secret, error) { return failover.NewSecret("t"), nil }})
		require.NoError(t, err)
		cfg.OpCon = &symitar.OpCon{Client: client, Machine: "SYMAIX", Reason: "CHG0042", Repoint: repoint,
			Home: opcon.Address{FQDN: "symaix1"}, Partner: opcon.Address{FQDN: partner}, KeepHeld: keep}
		pair, err := symitar.NewPair(cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, pair.Close()) }()
		p, err := symitar.Switchover(pair)
		require.NoError(t, err)
		return p.Parameters
	}
	first := parameters(opcon.RepointAliasMoves, "symaix3")
	require.Equal(t, first, parameters(opcon.RepointEditRecord, "symaix3"))
	require.Equal(t, first, parameters(opcon.RepointEditRecord, "symaix2", "SYM NIGHTLY"))
}

// fields are the stages of a struct and of the structs in it, by the name of their field.
func fields(v reflect.Value) map[string]*failover.Stage {
	all := map[string]*failover.Stage{}
	for i := range v.NumField() {
		if stage, ok := v.Field(i).Addr().Interface().(*failover.Stage); ok {
			all[v.Type().Field(i).Name] = stage
			continue
		}
		for name, stage := range fields(v.Field(i)) {
			all[name] = stage
		}
	}
	return all
}

// TestARoleProbeIsMendedBehindASwitchover has a probe that takes the roles for right before the macro and knows neither
// host afterwards. Once it is mended the same journal goes on, and fires nothing again. Another host pair does not go on
// with it.
func TestARoleProbeIsMendedBehindASwitchover(t *testing.T) {
	b := newBench(t, "")
	right := b.cfg.Role
	b.cfg.Role = symitar.Role{Quorum: 1, Probes: []symitar.RoleProbe{{Name: "marker",
		Command: "hostname; cat " + symitartest.Root + "/etc/role", Primary: `symaix1\nprimary`, Secondary: `symaix2\nsecondary`}}}
	_, err := b.run(t, symitar.Switchover)
	require.ErrorIs(t, err, failover.ErrInDoubt)
	require.ErrorContains(t, err, "symaix1: unknown (marker says unknown)")
	require.Contains(t, failover.NextOf(err), "Config.Role")
	require.Equal(t, 1, b.sim.MacroRuns())

	b.cfg.Role = right
	same := b.cfg
	for what, other := range map[string]func(){
		"another machine": func() { b.cfg.Partner.MachineID = "00F8C1034C00" },
		"another name":    func() { b.cfg.Partner.Name = "symaix3" },
		"the way back":    func() { b.cfg.Home, b.cfg.Partner = b.cfg.Partner, b.cfg.Home },
	} {
		other()
		_, err = b.run(t, symitar.Switchover)
		require.ErrorIs(t, err, failover.ErrWrongJournal, what)
		b.cfg = same
	}
	_, err = b.run(t, symitar.Switchover)
	require.NoError(t, err)
	b.swapped(t)
}
