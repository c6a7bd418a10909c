package idm_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

func TestSchemaFromTheServerAndFromTheTable(t *testing.T) {
	for name, old := range map[string]bool{"new": false, "old": true} {
		t.Run(name, func(t *testing.T) {
			tree := idmtest.Start(t, idmtest.Config{OldSchema: old})
			schema, err := open(t, tree, "srv1").Schema(t.Context())
			require.NoError(t, err)
			require.True(t, schema.Read)
			require.Empty(t, schema.Differences)
			for _, known := range idm.TableSchema().Attributes() {
				read, ok := schema.Attribute(strings.ToUpper(known.Name))
				require.True(t, ok, known.Name)
				require.Equal(t, known.OID, read.OID)
				require.Equal(t, known.PerServer, read.PerServer, known.Name)
				require.True(t, known.PerServer || known.Copying == idm.CopyingReplicated, known.Name)
				require.True(t, known.Copying == idm.CopyingReplicated || known.Why != "", "%s: why?", known.Name)
			}
			option, _ := schema.Attribute("DirXML-DriverStartOption;binary")
			require.True(t, option.EngineOwned, "also where an older schema lacks the flag")
		})
	}
}

func TestCopyServerData(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one, two := open(t, tree, "srv1"), open(t, tree, "srv2")
	ctx, o := t.Context(), idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN}

	diff, err := idm.CompareServerData(ctx, one, two, o)
	require.NoError(t, err)
	require.False(t, diff.Equal())
	require.Empty(t, diff.Written)
	var attributes []string
	for _, d := range diff.Differences {
		attributes = append(attributes, d.Attribute)
		require.NotContains(t, d.String(), "example.com", "values are not shown")
	}
	require.Contains(t, attributes, "DirXML-ShimConfigInfo")
	require.Contains(t, attributes, "DirXML-ConfigValues")
	for _, never := range []string{"DirXML-DriverStartOption", "DirXML-State", "DirXML-ShimAuthPassword",
		"DirXML-DriverStorage"} {
		require.NotContains(t, attributes, never)
	}

	require.Contains(t, diff.String(), "! by hand: + "+idmtest.DriverDN(0)+": DirXML-DriverStorage (position of the shim "+
		"in its application")

	report, err := idm.CopyServerData(ctx, one, two, o)
	require.NoError(t, err)
	require.NotEmpty(t, report.Written)
	again, err := idm.CopyServerData(ctx, one, two, o)
	require.NoError(t, err)
	require.True(t, again.Equal())
	require.Empty(t, again.Written, "nothing is written twice")
	for _, object := range []string{idmtest.DriverSetDN, "cn=SetGCV," + idmtest.DriverSetDN, idmtest.DriverDN(0),
		"cn=GCV," + idmtest.DriverDN(0)} {
		require.Equal(t, tree.Get("srv1", object, "DirXML-ConfigValues"), tree.Get("srv2", object, "DirXML-ConfigValues"),
			object)
	}
	require.Empty(t, tree.Get("srv2", idmtest.DriverDN(0), "DirXML-DriverStorage"), "the shim's own state only on request")
	o.OnRequest = []string{"DirXML-DriverStorage"}
	report, err = idm.CopyServerData(ctx, one, two, o)
	require.NoError(t, err)
	require.Empty(t, report.ByHand, "what was asked for is copied")
	require.NotEmpty(t, tree.Get("srv2", idmtest.DriverDN(0), "DirXML-DriverStorage"))
}

func TestCopyOnlySomeDrivers(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one, two := open(t, tree, "srv1"), open(t, tree, "srv2")
	_, err := idm.CopyServerData(t.Context(), one, two,
		idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN, Drivers: []string{idmtest.DriverDN(1)}})
	require.NoError(t, err)
	require.NotEmpty(t, tree.Get("srv2", idmtest.DriverDN(1), "DirXML-ShimConfigInfo"))
	require.Empty(t, tree.Get("srv2", idmtest.DriverDN(0), "DirXML-ShimConfigInfo"))
	require.Empty(t, tree.Get("srv2", "cn=GCV,"+idmtest.DriverDN(0), "DirXML-ConfigValues"))
	require.NotEmpty(t, tree.Get("srv2", idmtest.DriverSetDN, "DirXML-ConfigValues"))
}

func TestCopyInTheWrongDirectionIsRefused(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one, two := open(t, tree, "srv1"), open(t, tree, "srv2")
	before := tree.Get("srv1", idmtest.DriverDN(0), "DirXML-ShimConfigInfo")
	_, err := idm.CopyServerData(t.Context(), two, one, idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN})
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.Equal(t, before, tree.Get("srv1", idmtest.DriverDN(0), "DirXML-ShimConfigInfo"))
	_, err = idm.CopyServerData(t.Context(), one, one, idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN})
	require.ErrorIs(t, err, failover.ErrInvalid)
	_, err = idm.CopyServerData(t.Context(), one, two,
		idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN, OnRequest: []string{"DirXML-State"}})
	require.ErrorIs(t, err, failover.ErrInvalid)
	_, err = idm.CopyServerData(t.Context(), one, two,
		idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN, Drivers: []string{"cn=Nobody," + idmtest.DriverSetDN}})
	require.ErrorIs(t, err, idm.ErrNoEntry)
}

// A copy that breaks anywhere is in doubt, and goes on where it broke.
func TestCopyBrokenInTheMiddleGoesOn(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one, two := open(t, tree, "srv1"), open(t, tree, "srv2")
	o := idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN}
	fault := tree.Inject(idmtest.Injection{Kind: idmtest.FaultDropReply, Server: "srv2", Op: idmtest.OperationModify, Skip: 3})
	_, err := idm.CopyServerData(t.Context(), one, two, o)
	require.Equal(t, 1, fault.Hits())
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	_, err = idm.CopyServerData(t.Context(), one, two, o)
	require.NoError(t, err)
}

func TestEverySecretIsListedWithWhoNeedsIt(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one := open(t, tree, "srv1")
	list, err := one.SecretsNeeded(t.Context(), idmtest.DriverSetDN, nil, "cn=srv2,ou=servers,o=system")
	require.NoError(t, err)
	require.Empty(t, list.Gaps)
	find := func(kind idm.SecretKind, object, name string) *idm.SecretNeeded {
		for i, n := range list.Needs {
			if n.Kind == kind && idm.SameDN(n.Object, object) && n.Name == name {
				return &list.Needs[i]
			}
		}
		return nil
	}
	for i := range 3 {
		driver, p := idmtest.DriverDN(i), idmtest.DriverPasswords(i)
		app := find(idm.SecretApplication, driver, "")
		require.NotNil(t, app)
		require.Equal(t, "cn=srv2,ou=servers,o=system", app.Server)
		require.Equal(t, p.RemoteLoader != "", find(idm.SecretRemoteLoader, driver, "") != nil)
		require.Equal(t, p.Object != "", find(idm.SecretDriverObject, driver, "") != nil)
		for name := range p.Named {
			n := find(idm.SecretNamed, driver, name)
			require.NotNil(t, n, name)
			require.NotEmpty(t, n.NeededBy)
		}
	}
	require.NotNil(t, find(idm.SecretNamed, idmtest.DriverSetDN, "set-wide"))
}

// A password of the driver set is available to all its drivers, and a policy of a library finds that of its driver.
func TestAPasswordIsNeededWhereItIsKept(t *testing.T) {
	tree := idmtest.Start(t, pair())
	one, driver := open(t, tree, "srv1"), idmtest.DriverDN(0)
	ask := func(policy, name string) {
		require.NoError(t, one.Modify(t.Context(), policy, idm.AttributeChange{Kind: idm.ChangeReplace,
			Attribute: idm.Text("XmlData", `<policy><token-named-password name="`+name+`"/></policy>`)}))
	}
	ask("cn=SchemaMap,"+driver, "set-wide")
	ask("cn=lib-common,cn=Library,"+idmtest.DriverSetDN, "svc-account")
	list, err := one.SecretsNeeded(t.Context(), idmtest.DriverSetDN, nil, tree.Server("srv2").DN())
	require.NoError(t, err)
	for _, n := range list.Needs {
		require.False(t, n.Name == "set-wide" && n.Object != idmtest.DriverSetDN, n)
		require.False(t, n.Name == "svc-account" && n.Object == idmtest.DriverSetDN, n)
	}
	ask("cn=lib-common,cn=Library,"+idmtest.DriverSetDN, "nowhere")
	list, err = one.SecretsNeeded(t.Context(), idmtest.DriverSetDN, nil, tree.Server("srv2").DN())
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(list.Needs, func(n idm.SecretNeeded) bool { return n.Name == "nowhere" }))
}

// passwords is where the tests' passwords live.
func passwords(_ context.Context, n idm.SecretNeeded) (failover.Secret, error) {
	for i := range 20 {
		if !idm.SameDN(n.Object, idmtest.DriverDN(i)) {
			continue
		}
		p := idmtest.DriverPasswords(i)
		switch n.Kind {
		case idm.SecretApplication:
			return failover.NewSecret(p.Application), nil
		case idm.SecretRemoteLoader:
			return failover.NewSecret(p.RemoteLoader), nil
		case idm.SecretDriverObject:
			return failover.NewSecret(p.Object), nil
		case idm.SecretNamed:
			return failover.NewSecret(p.Named[n.Name]), nil
		}
	}
	if n.Kind == idm.SecretNamed && n.Name == "set-wide" {
		return failover.NewSecret(idmtest.SetPassword), nil
	}
	return failover.Secret{}, idm.ErrNoPassword
}

func TestPasswordsAreSetAndWhatIsProvenIsSaid(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one, two := open(t, tree, "srv1"), open(t, tree, "srv2")
	ctx := t.Context()
	_, err := idm.CopyServerData(ctx, one, two, idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN})
	require.NoError(t, err)
	list, err := one.SecretsNeeded(ctx, idmtest.DriverSetDN, nil, two.DN())
	require.NoError(t, err)
	for _, n := range list.Needs {
		state, err := two.SetSecret(ctx, n, passwords)
		require.NoError(t, err, n)
		if n.Kind == idm.SecretNamed {
			require.Equal(t, idm.PasswordListed, state)
		} else {
			require.Equal(t, idm.PasswordUnverified, state)
		}
		require.Contains(t, state.String(), "start")
	}
	srv2, p := tree.Server("srv2"), idmtest.DriverPasswords(1)
	require.True(t, srv2.HasPassword(idmtest.DriverDN(1), "application", "", p.Application))
	require.True(t, srv2.HasPassword(idmtest.DriverDN(1), "remote loader", "", p.RemoteLoader))
	require.True(t, srv2.HasPassword(idmtest.DriverDN(1), "object", "", p.Object))
	require.True(t, srv2.HasPassword(idmtest.DriverDN(1), "named", "svc-account", p.Named["svc-account"]))
	require.NoError(t, two.RemoveNamedPassword(ctx, idmtest.DriverDN(1), "svc-account"))
	require.ErrorIs(t, two.RemoveNamedPassword(ctx, idmtest.DriverDN(1), "svc-account"), idm.ErrNoAttribute)
	require.NoError(t, two.RemoveAllNamedPasswords(ctx, idmtest.DriverDN(1)))
	left, err := two.NamedPasswords(ctx, idmtest.DriverDN(1))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, two.ClearApplicationPassword(ctx, idmtest.DriverDN(1)))
	require.NoError(t, two.ClearRemoteLoaderPassword(ctx, idmtest.DriverDN(1)))
}

func TestAPasswordForMutualAuthenticationIsToldAndNotRead(t *testing.T) {
	tree := idmtest.Start(t, pair())
	one := open(t, tree, "srv1")
	ctx, driver := t.Context(), idmtest.DriverDN(1)
	require.NoError(t, one.Modify(ctx, driver,
		idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-MutualAuthPassword", "encrypted")}))
	tree.ForgetRequests()
	list, err := one.SecretsNeeded(ctx, idmtest.DriverSetDN, nil, tree.Server("srv2").DN())
	require.NoError(t, err)
	require.Len(t, list.Gaps, 1)
	require.Contains(t, list.Gaps[0], driver+" has a password for mutual authentication")
	for _, r := range tree.Requests() {
		require.NotContains(t, r.Attributes, "DirXML-MutualAuthPassword")
	}
	list, err = one.SecretsNeeded(ctx, idmtest.DriverSetDN, []string{idmtest.DriverDN(0)}, tree.Server("srv2").DN())
	require.NoError(t, err)
	require.Empty(t, list.Gaps, "only the drivers that move")
}

// Words of the server that repeat a password do not carry it on.
func TestAPasswordNeverShows(t *testing.T) {
	tree := idmtest.Start(t, pair())
	two := open(t, tree, "srv2")
	need := idm.SecretNeeded{Kind: idm.SecretApplication, Object: idmtest.DriverDN(0)}
	for _, kind := range []idmtest.FaultKind{idmtest.FaultRefusal, idmtest.FaultDropReply, idmtest.FaultGarbage} {
		tree.Inject(idmtest.Injection{Kind: kind, Extended: 67, NDS: -16049,
			Text: "the value app-Driver01 is not allowed (-16049)"})
		_, err := two.SetSecret(t.Context(), need, passwords)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "app-Driver01")
		require.Equal(t, kind == idmtest.FaultRefusal, errors.Is(err, idm.ErrPasswordPolicy))
	}
}

func TestReplicas(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"},
		{Name: "srv2", Without: []string{idmtest.DriverSetDN}}}})
	one, two, ctx := open(t, tree, "srv1"), open(t, tree, "srv2"), t.Context()
	r, err := one.ReplicaOf(ctx, idmtest.DriverDN(0))
	require.NoError(t, err)
	require.True(t, idm.SameDN(idmtest.DriverSetDN, r.Partition))
	require.True(t, r.On && r.Type.Full())
	_, err = two.ReplicaOf(ctx, idmtest.DriverDN(0))
	require.ErrorIs(t, err, idm.ErrWrongServer)
	missing, err := one.MissingRights(ctx, idmtest.DriverSetDN)
	require.NoError(t, err)
	require.Empty(t, missing)
	require.NoError(t, tree.AddUser("cn=reader,o=system", "pw"))
	reader := open(t, tree, "srv1", func(c *idm.Config) { c.UserDN, c.Password = "cn=reader,o=system", secret("pw") })
	missing, err = reader.MissingRights(ctx, idmtest.DriverSetDN)
	require.NoError(t, err)
	require.Equal(t, []string{"DirXML-AccessRun", "DirXML-AccessConfigure", "DirXML-AccessMigrate", "DirXML-AccessManage",
		"DirXML-ServerList"}, missing)
	require.ErrorIs(t, reader.Stop(ctx, idmtest.DriverDN(0)), idm.ErrNoAccess)
}

func TestDirectoryLockKeepsTheRules(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	failovertest.TestLock(t, func(testing.TB) failover.Lock {
		return idm.DirectoryLock{Server: open(t, tree, "srv1"), Entry: idmtest.DriverSetDN}
	})
}

func TestAClaimWithALongReasonFits(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	lock := idm.DirectoryLock{Server: open(t, tree, "srv1"), Entry: idmtest.DriverSetDN}
	c := failover.Claim{ID: "a", Journal: "j", Place: strings.Repeat("/p", 100), Owner: "ann",
		Purpose: strings.Repeat("<ü>", 2000)}
	require.NoError(t, lock.Acquire(t.Context(), c))
	require.NoError(t, lock.Check(t.Context(), c))
	for _, v := range tree.Get("srv1", idmtest.DriverSetDN, "description") {
		require.LessOrEqual(t, len(v), 1024)
	}
	got, _, err := lock.Holder(t.Context())
	require.NoError(t, err)
	require.Contains(t, c.Purpose, got.Purpose)
	require.Equal(t, c.Place, got.Place)
	require.NoError(t, lock.Release(t.Context(), c))
	_, held, err := lock.Holder(t.Context())
	require.NoError(t, err)
	require.False(t, held)
}

func TestDirectoryLock(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one, ctx := open(t, tree, "srv1"), t.Context()
	lock := idm.DirectoryLock{Server: one, Entry: idmtest.DriverSetDN}
	require.NoError(t, one.Modify(ctx, idmtest.DriverSetDN,
		idm.AttributeChange{Kind: idm.ChangeAdd, Attribute: idm.Text("description", "somebody's note")}))
	a := failover.Claim{ID: "a", Owner: "ann", Purpose: "switchover CHG1", Since: time.Now()}
	b := failover.Claim{ID: "b", Owner: "bob", Purpose: "failover", Since: time.Now()}

	require.NoError(t, lock.Acquire(ctx, a))
	require.NoError(t, lock.Acquire(ctx, a), "a resumed run has it already")
	err := lock.Acquire(ctx, b)
	require.ErrorIs(t, err, failover.ErrLocked)
	require.ErrorContains(t, err, "ann")
	require.NoError(t, lock.Check(ctx, a))
	require.ErrorIs(t, lock.Check(ctx, b), failover.ErrLockLost)
	require.NoError(t, lock.Release(ctx, b))
	require.ErrorIs(t, lock.TakeOver(ctx, b, b), failover.ErrLocked)
	require.NoError(t, lock.TakeOver(ctx, a, b))
	require.ErrorIs(t, lock.Check(ctx, a), failover.ErrLockLost)
	holder, held, err := lock.Holder(ctx)
	require.NoError(t, err)
	require.True(t, held)
	require.Equal(t, "bob", holder.Owner)
	require.NoError(t, lock.Release(ctx, b))
	_, held, err = lock.Holder(ctx)
	require.NoError(t, err)
	require.False(t, held)
	require.Contains(t, tree.Get("srv1", idmtest.DriverSetDN, "description"), "somebody's note")
}

func TestOnlyOneOfManyGetsTheLock(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	one := open(t, tree, "srv1", func(c *idm.Config) { c.Connections = 8 })
	lock := idm.DirectoryLock{Server: one, Entry: idmtest.DriverSetDN}
	results := make(chan error, 8)
	for i := range 8 {
		go func() { results <- lock.Acquire(t.Context(), failover.Claim{ID: string(rune('a' + i)), Owner: "x"}) }()
	}
	got := 0
	for range 8 {
		if err := <-results; err == nil {
			got++
		} else if !errors.Is(err, failover.ErrLocked) {
			t.Errorf("neither won nor locked: %v", err)
		}
	}
	require.LessOrEqual(t, got, 1)
}

// Whichever request is refused: a lock that is ours then was not called "not applied".
func TestALockThatWasTakenIsNotCalledRefused(t *testing.T) {
	mine, other := failover.Claim{ID: "a", Owner: "ann", Purpose: "p"}, failover.Claim{ID: "b", Owner: "bob", Purpose: "q"}
	for name, call := range map[string]func(context.Context, idm.DirectoryLock) error{
		"acquire": func(ctx context.Context, l idm.DirectoryLock) error { return l.Acquire(ctx, mine) },
		"take over": func(ctx context.Context, l idm.DirectoryLock) error {
			return l.TakeOver(ctx, other, mine)
		},
	} {
		for skip := 0; ; skip++ {
			tree := idmtest.Start(t, idmtest.Config{})
			lock := idm.DirectoryLock{Server: open(t, tree, "srv1"), Entry: idmtest.DriverSetDN}
			if name == "take over" {
				require.NoError(t, lock.Acquire(t.Context(), other))
			}
			fault := tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Code: 50, DN: idmtest.DriverSetDN, Skip: skip, Times: -1})
			err := call(t.Context(), lock)
			fault.Remove()
			if err == nil {
				break
			}
			if failover.OutcomeOf(err) == failover.NotApplied {
				require.Error(t, lock.Check(t.Context(), mine), "%s, refused behind %d requests: %v", name, skip, err)
			}
		}
	}
}
