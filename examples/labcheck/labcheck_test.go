package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a simulated lab: a tree with idle drivers, the first of which is the scratch driver, and the filled-in file.
type bench struct {
	t      *testing.T
	tree   *idmtest.Tree
	dir    string
	config string
}

func newBench(t *testing.T, c idmtest.Config, changes ...string) bench {
	t.Helper()
	if c.Drivers == 0 {
		c.Drivers, c.Idle = 2, true
	}
	if len(c.Servers) == 0 {
		c.Servers = []idmtest.ServerConfig{{Name: "lab1"}, {Name: "lab2", OutsideSet: true}}
	}
	b := bench{t: t, dir: t.TempDir(), tree: idmtest.Start(t, c)}
	b.config = b.file(changes...)
	b.tree.ForgetRequests()
	return b
}

// file is the example file with everything filled in.
func (b bench) file(changes ...string) string {
	b.t.Helper()
	require.NoError(b.t, os.WriteFile(filepath.Join(b.dir, "password"), []byte(idmtest.AdminPassword+"\n"), 0o600))
	require.NoError(b.t, os.WriteFile(filepath.Join(b.dir, "ca.pem"), b.tree.RootPEM(), 0o600))
	raw, err := os.ReadFile("lab.example.yaml")
	require.NoError(b.t, err)
	text := string(raw)
	server := b.tree.Server("lab1")
	for _, pair := range slices.Collect(slices.Chunk(append([]string{
		"ldaps://lab1.example:636", server.URL(), "dn: FILL-IN", "dn: " + server.DN(), "/etc/failover/lab-ca.pem",
		filepath.Join(b.dir, "ca.pem"),
		"user: cn=admin,ou=sa,o=system", "user: " + idmtest.AdminDN, "/etc/failover/lab.password",
		filepath.Join(b.dir, "password"),
		"driver: FILL-IN", "driver: " + idmtest.DriverDN(0), `  driver: ""`, "  driver: " + idmtest.DriverDN(0),
		"watch: 30s", "watch: 20ms", "start: 2m", "start: 10s", "poll: 1s", "poll: 2ms"}, changes...), 2)) {
		require.Contains(b.t, text, pair[0])
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	path := filepath.Join(b.dir, "lab.yaml")
	require.NoError(b.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// program runs labcheck and returns its exit status and what it printed.
func (b bench) program(args ...string) (int, string, string) {
	b.t.Helper()
	var out, complaints bytes.Buffer
	status := program(b.t.Context(), append([]string{"-config", b.config}, args...), &out, &complaints)
	return status, out.String(), complaints.String()
}

func (b bench) result(args ...string) (int, result) {
	b.t.Helper()
	status, out, complaints := b.program(append([]string{"-json"}, args...)...)
	var r result
	require.NoError(b.t, json.Unmarshal([]byte(out), &r), "%s%s", out, complaints)
	return status, r
}

func (b bench) asAdmin() idm.Config {
	return idm.Config{URL: b.tree.Server("lab1").URL(), TLS: failover.TLS{Roots: b.tree.Roots()}, UserDN: idmtest.AdminDN,
		Password: func(context.Context) (failover.Secret, error) { return failover.NewSecret(idmtest.AdminPassword), nil }}
}

// changing are the DirXML operations that change something, or make the engine do something.
var changing = []int{3, 5, 9, 15, 17, 21, 23, 27, 39, 43, 53, 55, 57, 67, 69, 71, 73, 75, 77, 79, 101}

func (b bench) writes() []idmtest.Request {
	return b.tree.Asked(func(r idmtest.Request) bool {
		switch r.Op {
		case idmtest.OperationModify, idmtest.OperationAdd, idmtest.OperationDelete, idmtest.OperationModifyDN:
			return true
		}
		return slices.Contains(changing, r.Extended)
	})
}

func TestFramingIsSettledWithoutChangingAnything(t *testing.T) {
	for framing, want := range map[idmtest.Framing]string{idmtest.FramingConcatenated: "concatenated",
		idmtest.FramingSequence: "sequence"} {
		t.Run(want, func(t *testing.T) {
			b := newBench(t, idmtest.Config{Framing: framing})
			status, r := b.result()
			require.Zero(t, status, r.String())
			require.Equal(t, want, r.Framing)
			require.Empty(t, r.Resync, "that takes the scratch driver")
			require.Empty(t, r.Go)
			require.Empty(t, r.Wrote)
			require.Empty(t, b.writes())
			require.Contains(t, r.String(), "framing: "+want+"\n  resync_flag: FILL-IN")
			require.Contains(t, r.String(), "nothing was changed")
		})
	}
}

func TestTheWholeDialectIsSettledOnTheScratchDriver(t *testing.T) {
	for _, tt := range []struct {
		framing  idmtest.Framing
		flag     idmtest.ResyncFlag
		want     idm.Dialect
		wantGo   string
		wantYAML string
	}{
		{idmtest.FramingConcatenated, idmtest.ResyncFlagOneMeansNot, idm.Dialect{},
			"idm.Dialect{Framing: idm.FramingConcatenated, Resync: idm.ResyncFlagOneSkips}",
			"framing: concatenated\n  resync_flag: one-skips"},
		{idmtest.FramingConcatenated, idmtest.ResyncFlagZeroMeansNot, idm.Dialect{Resync: idm.ResyncFlagOneSyncs},
			"idm.Dialect{Framing: idm.FramingConcatenated, Resync: idm.ResyncFlagOneSyncs}",
			"framing: concatenated\n  resync_flag: one-syncs"},
		{idmtest.FramingSequence, idmtest.ResyncFlagOneMeansNot, idm.Dialect{Framing: idm.FramingSequence},
			"idm.Dialect{Framing: idm.FramingSequence, Resync: idm.ResyncFlagOneSkips}",
			"framing: sequence\n  resync_flag: one-skips"},
		{idmtest.FramingSequence, idmtest.ResyncFlagZeroMeansNot,
			idm.Dialect{Framing: idm.FramingSequence, Resync: idm.ResyncFlagOneSyncs},
			"idm.Dialect{Framing: idm.FramingSequence, Resync: idm.ResyncFlagOneSyncs}",
			"framing: sequence\n  resync_flag: one-syncs"},
	} {
		t.Run(strings.ReplaceAll(strings.ReplaceAll(tt.wantYAML, ": ", " "), "\n", ""), func(t *testing.T) {
			b := newBench(t, idmtest.Config{Framing: tt.framing, ResyncFlag: tt.flag})
			lab, scratch := b.tree.Server("lab1"), idmtest.DriverDN(0)
			status, r := b.result("-write-to-scratch-driver", scratch)
			require.Zero(t, status, r.String())
			require.Equal(t, tt.want, r.dialect())
			require.Equal(t, tt.wantGo, r.Go)
			require.Contains(t, r.String(), tt.wantYAML)
			require.Equal(t, scratch, r.Wrote)

			require.NotEmpty(t, b.writes())
			for _, w := range b.writes() {
				require.True(t, idm.SameDN(w.DN, scratch), "%+v", w)
			}
			require.Equal(t, idmtest.StartDisabled, lab.StartOption(scratch), "left as it was found")
			require.Equal(t, idmtest.StateStopped, lab.State(scratch))
			require.Zero(t, lab.Cached(scratch))
			require.Contains(t, []int{2, 3}, b.tree.Counters(scratch).AutoResyncs,
				"those the test is about, and the first enabling where 1 means to synchronize")
			require.Zero(t, b.tree.Counters(idmtest.DriverDN(1)).Starts)
			require.False(t, lab.HasPassword(scratch, "named", "labcheck", ""))
		})
	}
}

func TestItemsOfTheListAreAnswered(t *testing.T) {
	b := newBench(t, idmtest.Config{})
	_, r := b.result("-write-to-scratch-driver", idmtest.DriverDN(0))
	items := map[int][]finding{}
	for _, f := range r.Findings {
		items[f.Item] = append(items[f.Item], f)
		require.NotEqual(t, differs, f.Verdict, "%+v", f)
	}
	require.Len(t, items, 12, "every item of the list is there, if only to say that it is done by hand")
	text := r.String()
	for _, found := range []string{
		"all that the library needs", "SEQUENCE{INTEGER 1208418307}, responseName", "4.8.7.0 build 3",
		"responseName 2.16.840.1.113719.1.14.100.14",
		"refused: LDAP 32 No Such Object, NDS -601", "start a driver that is disabled", "NDS -641 invalid request",
		"disabled with 1 and enabled with 1: 0",
		"as in the library's table", "TLS 1.3: TLS_", "alternative names: ", "restart ndsd",
	} {
		require.Contains(t, text, found)
	}
}

func TestRefusalsOfOtherUsersAndDrivers(t *testing.T) {
	b := newBench(t, idmtest.Config{})
	poor, err := idm.Dial(t.Context(), b.asAdmin())
	require.NoError(t, err)
	require.NoError(t, poor.Add(t.Context(), "cn=poor,o=system", idm.Text("objectClass", "inetOrgPerson"),
		idm.Text("cn", "poor"), idm.Text("sn", "poor"), idm.Text("userPassword", "poor-secret")))
	require.NoError(t, poor.Close())
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "poor"), []byte("poor-secret"), 0o600))
	b.config = b.file(`limited_user: {dn: "", password: {}}`,
		`limited_user: {dn: "cn=poor,o=system", password: {file: `+filepath.Join(b.dir, "poor")+`}}`)
	status, r := b.result()
	require.Zero(t, status, r.String())
	require.Contains(t, r.String(), "NDS -672 no access")

	// Seen from the server outside the set, every driver is one it does not serve.
	outside := b.tree.Server("lab2")
	b.config = b.file("url: "+b.tree.Server("lab1").URL(), "url: "+outside.URL(), b.tree.Server("lab1").DN(), outside.DN(),
		`unserved_driver: ""`, "unserved_driver: "+idmtest.DriverDN(1))
	status, r = b.result()
	require.Equal(t, 1, status, "nothing is served here, so the framing stays open")
	require.Empty(t, r.Framing)
	require.Contains(t, r.String(), "as expected  start option of a driver this server does not serve")
	require.Contains(t, r.String(), "framing: FILL-IN  # not settled")
}

func TestAServerThatKnowsNothing(t *testing.T) {
	for name, c := range map[string]idmtest.Config{
		"no engine":          {Servers: []idmtest.ServerConfig{{Name: "lab1", Engine: idmtest.EngineAbsent}}},
		"engine not started": {Servers: []idmtest.ServerConfig{{Name: "lab1", Engine: idmtest.EngineNotInitialized}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c)
			status, r := b.result("-write-to-scratch-driver", idmtest.DriverDN(0))
			require.Equal(t, 1, status)
			require.Empty(t, r.Framing)
			require.Empty(t, r.Resync)
			require.Empty(t, r.Go)
			require.Empty(t, b.writes(), "without a framing nothing is tried on the scratch driver")
		})
	}
	for _, kind := range []idmtest.FaultKind{idmtest.FaultRefusal, idmtest.FaultGarbage, idmtest.FaultDropReply,
		idmtest.FaultEmptySuccess} {
		t.Run(kind.String(), func(t *testing.T) {
			b := newBench(t, idmtest.Config{})
			b.tree.Inject(idmtest.Injection{Kind: kind, Op: idmtest.OperationExtended, Times: -1})
			status, r := b.result("-write-to-scratch-driver", idmtest.DriverDN(0))
			require.Equal(t, 1, status)
			require.Empty(t, r.Go)
			require.Empty(t, b.writes())
		})
	}
}

// The flag may count when the driver is disabled and not when it is enabled.
func TestThePolarityIsFoundOnWhicheverActItCounts(t *testing.T) {
	for flag, want := range map[idmtest.ResyncFlag][2]string{
		idmtest.ResyncFlagOneMeansNot:             {"one-skips", "the act of enabling counts"},
		idmtest.ResyncFlagZeroMeansNot:            {"one-syncs", "the act of enabling counts"},
		idmtest.ResyncFlagOneMeansNotOfDisabling:  {"one-skips", "the act of disabling counts"},
		idmtest.ResyncFlagZeroMeansNotOfDisabling: {"one-syncs", "the act of disabling counts"},
	} {
		b := newBench(t, idmtest.Config{ResyncFlag: flag})
		_, r := b.result("-write-to-scratch-driver", idmtest.DriverDN(0))
		require.Equal(t, want[0], r.Resync)
		require.Contains(t, r.String(), want[1])
	}
}

func TestAnUnclearPolarityIsNotGuessed(t *testing.T) {
	t.Run("nothing to synchronize", func(t *testing.T) {
		b := newBench(t, idmtest.Config{})
		b.tree.Inject(idmtest.Injection{Kind: idmtest.FaultEmptySuccess, Extended: 9, Times: -1}) // success, and nothing happens
		status, r := b.result("-write-to-scratch-driver", idmtest.DriverDN(0))
		require.Equal(t, 1, status)
		require.Empty(t, r.Resync)
		require.Contains(t, r.String(), "resync_flag: FILL-IN")
	})
	t.Run("a lost answer puts the driver back", func(t *testing.T) {
		b := newBench(t, idmtest.Config{})
		b.tree.Inject(idmtest.Injection{Kind: idmtest.FaultDropReply, Extended: 9})
		status, out, complaints := b.program("-write-to-scratch-driver", idmtest.DriverDN(0))
		require.Equal(t, 1, status)
		require.Contains(t, complaints, "set start option of "+idmtest.DriverDN(0))
		require.Contains(t, out, "resync_flag: FILL-IN")
		require.Equal(t, idmtest.StartDisabled, b.tree.Server("lab1").StartOption(idmtest.DriverDN(0)))
	})
	t.Run("a driver that does not start", func(t *testing.T) {
		b := newBench(t, idmtest.Config{})
		b.tree.Server("lab1").Behave(idmtest.DriverDN(0), idmtest.Behaviour{FailStarts: -1})
		status, r := b.result("-write-to-scratch-driver", idmtest.DriverDN(0))
		require.Equal(t, 1, status)
		require.Equal(t, "one-skips", r.Resync, "the polarity does not depend on it")
		require.Contains(t, r.String(), "the scratch driver does not start")
		require.Equal(t, idmtest.StartDisabled, b.tree.Server("lab1").StartOption(idmtest.DriverDN(0)))
	})
}

func TestOnlyAnIdleDriverNobodyUsesIsChanged(t *testing.T) {
	t.Run("running", func(t *testing.T) {
		b := newBench(t, idmtest.Config{Drivers: 1})
		status, _, complaints := b.program("-write-to-scratch-driver", idmtest.DriverDN(0))
		require.Equal(t, 1, status)
		require.Contains(t, complaints, "it is running, auto: a scratch driver is stopped and disabled")
		require.Empty(t, b.writes())
	})
	t.Run("in use", func(t *testing.T) {
		b := newBench(t, idmtest.Config{})
		admin, err := idm.Dial(t.Context(), b.asAdmin())
		require.NoError(t, err)
		require.NoError(t, admin.Modify(t.Context(), b.tree.Users()[0],
			idm.AttributeChange{Kind: idm.ChangeAdd, Attribute: idm.Text("DirXML-Associations", idmtest.DriverDN(0)+"#1#key")}))
		require.NoError(t, admin.Close())
		b.tree.ForgetRequests()
		status, _, complaints := b.program("-write-to-scratch-driver", idmtest.DriverDN(0))
		require.Equal(t, 1, status)
		require.Contains(t, complaints, b.tree.Users()[0]+" is associated with it")
		require.Empty(t, b.writes())
	})
	t.Run("no driver", func(t *testing.T) {
		b := newBench(t, idmtest.Config{})
		b.config = b.file("  driver: "+idmtest.DriverDN(0), "  driver: "+idmtest.UsersDN)
		status, _, complaints := b.program("-write-to-scratch-driver", idmtest.UsersDN)
		require.Equal(t, 1, status)
		require.Contains(t, complaints, "no DirXML-Driver")
		require.Empty(t, b.writes())
	})
}

func TestAnInterruptPutsTheDriverBack(t *testing.T) {
	b := newBench(t, idmtest.Config{}, "watch: 20ms", "watch: 1h")
	ctx, cancel := context.WithCancel(t.Context())
	b.tree.Inject(idmtest.Injection{Extended: 9, Do: cancel})
	var out, complaints bytes.Buffer
	require.Equal(t, 1, program(ctx, []string{"-config", b.config, "-write-to-scratch-driver", idmtest.DriverDN(0)}, &out,
		&complaints))
	require.Equal(t, idmtest.StartDisabled, b.tree.Server("lab1").StartOption(idmtest.DriverDN(0)))
	require.Contains(t, out.String(), "resync_flag: FILL-IN")
}

func TestTheFileAndTheFlagsAreChecked(t *testing.T) {
	_, err := readLab("lab.example.yaml", "x")
	require.ErrorIs(t, err, failover.ErrInvalid)
	for _, field := range []string{"server.dn", "driver"} {
		require.ErrorContains(t, err, field)
	}
	b := newBench(t, idmtest.Config{})
	status, _, complaints := b.program("-write-to-scratch-driver", idmtest.DriverDN(1))
	require.Equal(t, 1, status)
	require.Contains(t, complaints, "name the scratch driver of the file")
	for _, tt := range []struct{ from, to, want string }{
		{"poll: 2ms", "poll: 0s", "scratch.poll"},
		{"  driver: " + idmtest.DriverDN(0), `  driver: ""`, "scratch.driver"},
		{"scratch:", "scratsch:", "scratsch"},
		{`limited_user: {dn: ""`, `limited_user: {dn: "cn=x"`, "limited_user.password"},
	} {
		b.config = b.file(tt.from, tt.to)
		_, _, complaints := b.program("-write-to-scratch-driver", idmtest.DriverDN(0))
		require.Contains(t, complaints, tt.want)
	}
	require.Empty(t, b.tree.Requests(), "refused before any server was asked")
	for _, args := range [][]string{{"-nonsense"}, {"run"}} {
		status, _, _ := b.program(args...)
		require.Equal(t, 2, status)
	}
	status, _, _ = b.program("-h")
	require.Zero(t, status)
}

func TestNoSecretIsShown(t *testing.T) {
	b := newBench(t, idmtest.Config{})
	status, out, complaints := b.program("-write-to-scratch-driver", idmtest.DriverDN(0))
	require.Zero(t, status, complaints)
	for _, secret := range []string{idmtest.AdminPassword, idmtest.SetPassword, idmtest.DriverPasswords(0).Application} {
		require.NotContains(t, out+complaints, secret)
	}
}

func TestOtherServersOtherAnswers(t *testing.T) {
	t.Run("no response names", func(t *testing.T) {
		b := newBench(t, idmtest.Config{OmitResponseName: true})
		status, r := b.result()
		require.Zero(t, status)
		require.Contains(t, r.String(), "SEQUENCE{INTEGER 0}, no responseName: stopped")
	})
	t.Run("old TLS", func(t *testing.T) {
		b := newBench(t, idmtest.Config{LegacyTLS: true}, "legacy_tls: false", "legacy_tls: true")
		status, r := b.result()
		require.Zero(t, status)
		require.Contains(t, r.String(), "(legacy_tls): TLS_RSA_WITH_AES")
		require.Contains(t, r.String(), "TLS 1.3: no")
	})
	t.Run("StartTLS", func(t *testing.T) {
		b := newBench(t, idmtest.Config{})
		lab := b.tree.Server("lab1")
		b.config = b.file(lab.URL(), lab.ClearURL())
		status, r := b.result()
		require.Zero(t, status)
		require.Contains(t, r.String(), "TLS 1.3: TLS_")
	})
}
