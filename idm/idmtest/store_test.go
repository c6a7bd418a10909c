package idmtest_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// The test binary is its own simulator process when this variable names a folder.
const childFolder = "IDMTEST_CHILD_FOLDER"

func childProcess() bool {
	dir := os.Getenv(childFolder)
	if dir == "" {
		return false
	}
	tree, err := idmtest.Open(dir, persistent)
	if err != nil {
		os.Stdout.WriteString("error " + err.Error() + "\n")
		return true
	}
	os.Stdout.WriteString("ready " + tree.Server("srv1").URL() + " " + tree.Server("srv2").URL() + "\n")
	// Lives until it is killed or its standard input ends.
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	_ = tree.Close()
	return true
}

var persistent = idmtest.Config{Drivers: 4,
	Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true}}}

func TestStateSurvivesAKilledProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0]) // TestMain turns the child into a simulator
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	killed := false
	defer func() {
		if !killed {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	fields := strings.Fields(line)
	require.Equal(t, "ready", fields[0], line)

	_, err = idmtest.Open(dir, persistent)
	require.ErrorIs(t, err, failover.ErrInvalid, "one process at a time")

	conn, err := ldap.DialURL(fields[2], ldap.DialWithTLSConfig(rootsOf(t, dir)))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.Bind(idmtest.AdminDN, idmtest.AdminPassword))
	c := &client{t: t, Conn: conn}
	driver := idmtest.DriverDN(3)
	c.run(9, driver, 1, 1)
	c.run(67, driver, "new password")
	c.run(15, driver)
	c.replace(driver, "DirXML-ShimAuthID", "cn=changed")
	require.NoError(t, c.Del(ldap.NewDelRequest("cn=user001,"+idmtest.UsersDN, nil)))

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed and says so
	killed = true

	tree, err := idmtest.Open(dir, idmtest.Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, tree.Close()) }()
	one, two := tree.Server("srv1"), tree.Server("srv2")
	require.Equal(t, []string{"ready", one.URL(), two.URL()}, fields, "same addresses")
	require.Len(t, tree.Drivers(), 4)
	require.Equal(t, idmtest.StartManual, two.StartOption(driver))
	require.Equal(t, idmtest.StartAuto, one.StartOption(driver))
	require.True(t, two.HasPassword(driver, "application", "", "new password"))
	require.Equal(t, []string{"cn=changed"}, tree.Get("srv2", driver, "DirXML-ShimAuthID"))
	require.Equal(t, []string{"cn=idm-driver04"}, tree.Get("srv1", driver, "DirXML-ShimAuthID"))
	require.False(t, tree.Exists("cn=user001,"+idmtest.UsersDN))
	require.Len(t, tree.Overlaps(), 1)
	waitState(t, tree, "srv2", driver, idmtest.StateStopped) // the new password is not the right one
	require.Contains(t, two.StartError(driver), "refused the login")
	require.Equal(t, 1, tree.Counters(driver).Starts)
	require.NoError(t, admin(t, tree, two).replaceErr(driver, "DirXML-TraceLevel", "1"))
}

func TestKilledServersStayDownOverProcesses(t *testing.T) {
	dir := t.TempDir()
	tree, err := idmtest.Open(dir, persistent)
	require.NoError(t, err)
	tree.Server("srv1").Kill()
	require.NoError(t, tree.Close())
	tree, err = idmtest.Open(dir, idmtest.Config{})
	require.NoError(t, err)
	require.False(t, tree.Server("srv1").Up())
	require.Empty(t, tree.Active(idmtest.DriverDN(0)))
	require.NoError(t, tree.Server("srv1").Start())
	waitState(t, tree, "srv1", idmtest.DriverDN(0), idmtest.StateRunning)
	require.NoError(t, tree.Close())
}

func TestTornLastLineIsDroppedAndDamageIsRefused(t *testing.T) {
	dir := t.TempDir()
	tree, err := idmtest.Open(dir, persistent)
	require.NoError(t, err)
	tree.Change()
	require.NoError(t, tree.Close())
	path := filepath.Join(dir, "state.jsonl")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(path, append(whole[:len(whole):len(whole)], `{"t":{"NextID`...), 0o600))
	tree, err = idmtest.Open(dir, idmtest.Config{})
	require.NoError(t, err)
	require.Equal(t, 5, tree.Counters(idmtest.DriverDN(0)).Deliveries)
	require.NoError(t, tree.Close())

	require.NoError(t, os.WriteFile(path, append(whole[:len(whole):len(whole)], "nonsense\n"...), 0o600))
	_, err = idmtest.Open(dir, idmtest.Config{})
	require.ErrorIs(t, err, failover.ErrInvalid)
	require.NoError(t, os.WriteFile(path, []byte("nonsense\n"), 0o600))
	_, err = idmtest.Open(dir, idmtest.Config{})
	require.ErrorIs(t, err, failover.ErrInvalid)
	require.NoError(t, os.Remove(path))
	tree, err = idmtest.Open(dir, persistent)
	require.NoError(t, err, "the lock was given back")
	require.NoError(t, tree.Close())
}

func rootsOf(t *testing.T, dir string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem))
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}
