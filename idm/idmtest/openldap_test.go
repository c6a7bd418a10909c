package idmtest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm/idmtest"
	"github.com/01b61c5c/failover/internal/peers"
)

// tools runs OpenLDAP's own client programs against a server of the tree: proof that it speaks LDAP and not only the
// dialect of one library.
type tools struct {
	t    *testing.T
	ca   string
	pass string
	url  string
	who  string
	more []string
}

func openLDAP(t *testing.T, tree *idmtest.Tree, url string, more ...string) tools {
	t.Helper()
	peers.Need(t, "ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapcompare", "ldapmodrdn", "ldapexop")
	dir := t.TempDir()
	k := tools{t: t, ca: filepath.Join(dir, "ca.pem"), pass: filepath.Join(dir, "password"), url: url,
		who: idmtest.AdminDN, more: more}
	require.NoError(t, os.WriteFile(k.ca, tree.RootPEM(), 0o600))
	require.NoError(t, os.WriteFile(k.pass, []byte(idmtest.AdminPassword), 0o600))
	return k
}

// run returns the output and the exit status, which is the LDAP result code for most of the tools.
func (k tools) run(stdin, program string, args ...string) (string, int) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	all := append([]string{"-x", "-H", k.url, "-D", k.who, "-y", k.pass}, k.more...)
	cmd := exec.CommandContext(ctx, program, append(all, args...)...)
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+k.ca, "LDAPTLS_REQCERT=demand")
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(k.t, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func (k tools) ok(stdin, program string, args ...string) string {
	k.t.Helper()
	out, code := k.run(stdin, program, args...)
	require.Zero(k.t, code, out)
	return out
}

func TestOpenLDAPSearches(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Users: 25})
	s := tree.Server("srv1")
	for name, k := range map[string]tools{"ldaps": openLDAP(t, tree, s.URL()),
		"StartTLS": openLDAP(t, tree, s.ClearURL(), "-ZZ")} {
		t.Run(name, func(t *testing.T) {
			k.t = t
			require.Contains(t, k.ok("", "ldapsearch", "-LLL", "-s", "base", "-b", "", "dsaName"), "dsaName: "+s.DN())
			out := k.ok("", "ldapsearch", "-LLL", "-b", idmtest.UsersDN,
				"(&(objectClass=inetOrgPerson)(cn=user*)(!(cn=user001)))", "cn")
			require.Equal(t, 24, strings.Count(out, "dn: "))
			out = k.ok("", "ldapsearch", "-LLL", "-E", "pr=10/noprompt", "-b", idmtest.UsersDN, "(cn=user*)", "1.1")
			require.Equal(t, 25, strings.Count(out, "dn: "))
			out, code := k.run("", "ldapsearch", "-LLL", "-z", "3", "-b", idmtest.UsersDN, "(cn=user*)", "1.1")
			require.Equal(t, 4, code, out)
			require.Equal(t, 3, strings.Count(out, "dn: "))
			out = k.ok("", "ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-s", "base", "-b", "cn=schema", "attributeTypes")
			require.Contains(t, out, "X-NDS_NEVER_SYNC '1'")
			out = k.ok("", "ldapsearch", "-LLL", "-s", "base", "-b", idmtest.DriverDN(0), "DirXML-State",
				"DirXML-ShimConfigInfo")
			require.Contains(t, out, "DirXML-State: 2")
			out, code = k.run("", "ldapsearch", "-b", "cn=nobody,o=data")
			require.Equal(t, 32, code, out)
			require.Contains(t, out, "NDS error: no such entry (-601)")
		})
	}
	_, code := openLDAP(t, tree, s.ClearURL()).run("", "ldapsearch", "-s", "base", "-b", "")
	require.Equal(t, 13, code, "confidentiality required")
}

func TestOpenLDAPWrites(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"},
		{Name: "srv2", Without: []string{"o=data"}}}})
	k := openLDAP(t, tree, tree.Server("srv1").URL())
	driver := idmtest.DriverDN(0)
	xml := "<policy>\r\n\tä  </policy>\n"
	k.ok("dn: cn=New,"+driver+"\nobjectClass: DirXML-Rule\ncn: New\nXmlData:: "+
		base64.StdEncoding.EncodeToString([]byte(xml))+"\n\n", "ldapadd")
	require.Equal(t, []string{xml}, tree.Get("srv1", "cn=New,"+driver, "XmlData"), "byte for byte")
	k.ok("dn: "+tree.Users()[0]+"\nchangetype: modify\nreplace: title\ntitle: a\n-\nadd: loginCount\nloginCount: "+
		"1\n-\nincrement: loginCount\nloginCount: 4\n-\ndelete: mail\n\n",
		"ldapmodify")
	require.Equal(t, []string{"5"}, tree.Get("srv1", tree.Users()[0], "loginCount"))
	require.Empty(t, tree.Get("srv1", tree.Users()[0], "mail"))
	out, code := k.run("dn: "+driver+
		"\nchangetype: modify\nreplace: DirXML-DriverStartOption\nDirXML-DriverStartOption: 0\n\n", "ldapmodify")
	require.Equal(t, 50, code)
	require.Contains(t, out, "(-672)")

	out, code = k.run("", "ldapcompare", tree.Users()[0], "title:A")
	require.Equal(t, 6, code, out)
	out, code = k.run("", "ldapcompare", tree.Users()[0], "title:b")
	require.Equal(t, 5, code, out)

	k.ok("", "ldapmodrdn", "-r", "cn=New,"+driver, "cn=Newer")
	require.True(t, tree.Exists("cn=Newer,"+driver))
	k.ok("", "ldapmodrdn", "-r", "-s", "cn=Publisher,"+driver, "cn=Newer,"+driver, "cn=Moved")
	require.True(t, tree.Exists("cn=Moved,cn=Publisher,"+driver))
	k.ok("", "ldapdelete", "cn=Moved,cn=Publisher,"+driver)
	out, code = k.run("", "ldapdelete", driver)
	require.Equal(t, 66, code, out)

	out, code = openLDAP(t, tree, tree.Server("srv2").URL()).run("dn: "+tree.Users()[0]+"\nchangetype: modify\nreplace: "+
		"title\ntitle: b\n\n",
		"ldapmodify")
	require.Equal(t, 10, code, out)
	require.Contains(t, out, tree.Server("srv1").TLSAddr())
}

func TestOpenLDAPExtendedOperations(t *testing.T) {
	tree, clock := pair(t, nil)
	two := tree.Server("srv2")
	k := openLDAP(t, tree, two.URL())
	driver := idmtest.DriverDN(0)
	name := append([]byte{0x04, byte(len(driver))}, driver...)
	exop := func(n int, value []byte) (string, int) {
		arg := fmt.Sprintf("2.16.840.1.113719.1.14.100.%d", n)
		if value != nil {
			arg += "::" + base64.StdEncoding.EncodeToString(value)
		}
		return k.run("", "ldapexop", arg)
	}
	value := func(b ...byte) string { return base64.StdEncoding.EncodeToString(b) }

	out, code := exop(11, nil)
	require.Zero(t, code, out)
	require.Contains(t, out, value(0x30, 0x06, 0x02, 0x04, 0x48, 0x07, 0x00, 0x03))
	out, code = exop(13, name)
	require.Zero(t, code, out)
	require.Contains(t, out, value(0x30, 0x03, 0x02, 0x01, 0x00))
	require.Contains(t, out, "2.16.840.1.113719.1.14.100.14")
	out, code = exop(15, name)
	require.NotZero(t, code)
	require.Contains(t, out, "invalid request (-641)")
	out, code = exop(9, append(append([]byte{}, name...), 0x02, 0x01, 0x01, 0x02, 0x01, 0x01))
	require.Zero(t, code, out)
	_, code = exop(15, name)
	require.Zero(t, code)
	clock.pass(10 * second)
	out, _ = exop(13, name)
	require.Contains(t, out, value(0x30, 0x03, 0x02, 0x01, 0x02))
	require.Equal(t, idmtest.StateRunning, two.State(driver))
	require.Len(t, tree.Overlaps(), 1, "nobody stopped the other one")
}
