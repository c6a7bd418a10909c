// Package idmtest is a directory tree of several eDirectory-like servers with Identity Manager engines, on 127.0.0.1,
// for the tests of package idm and of tools built on it. It stands to them as net/http/httptest stands to net/http.
//
//	tree := idmtest.Start(t, idmtest.Config{Drivers: 12})
//	old, standby := tree.Server("srv1"), tree.Server("srv2")
//	// dial old.URL() with tree.Roots() and bind as idmtest.AdminDN with idmtest.AdminPassword
//	old.Kill()
//	// … move the drivers to standby …
//	old.Start() // its drivers are still Auto and start by themselves, as they do in life
//	for _, o := range tree.Overlaps() {
//		t.Errorf("%s was active on %v", o.Driver, o.Servers)
//	}
//
// # What it speaks
//
// LDAP version 3 with ldaps and StartTLS under an authority of the tree's own: simple bind (refused in clear text),
// unbind, search with all filters, scopes, attribute selection, limits, paged results and referrals, add, modify with
// replace, add, delete and increment, delete, modify DN, compare, abandon, and extended operations: the DirXML
// operations 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 27, 33, 35, 39, 41, 43, 53, 55, 57, 59, 67, 69, 71, 73, 75, 77,
// 79, 81 and 101 under
// 2.16.840.1.113719.1.14.100, and 17, 19, 31 and 33 of eDirectory's own family. It refuses everything it does not know,
// among it SASL, aliases, the tree delete control and Who am I (31 of eDirectory's family gives the bound name).
// Requests of one connection are handled one after the other, so there is never anything left to abandon.
//
// # What it models
//
// Replicated attributes are shared by all servers at once. Attributes that eDirectory never synchronizes are kept per
// server and vanish with the server's replica. Attributes the engine owns refuse a write with -672. A server that holds
// no replica of a partition answers with a referral, or chains, or refuses. Deleting an entry removes the values that
// name it; renaming one rewrites them.
//
// Each server has an engine. Starts and stops take time ([Config].StartTime); a start can fail, with the reason in
// DirXML-StatusLog: a missing password, parameter or global configuration value on this server, a wrong application
// password, or what [Server.Behave] says. Drivers that are not Disabled cache events; leaving Disabled resynchronizes
// unless the request says not to; a driver that is Auto starts with its server, whatever runs elsewhere. The tree
// counts ([Tree.Counters]) and notes every moment a driver was active on two servers ([Tree.Overlaps]).
//
// Passwords can be set and never read; [Server.HasPassword] compares.
//
// # What can go wrong
//
// [Tree.Inject] makes single requests fail in every way a network and a server can: before or after the effect,
// silently, slowly, with a lie. [Server.Kill] is a power cut, [Server.Unplug] a server that only looks dead.
//
// # More than one process
//
// [Open] keeps the tree in a folder: each effect is written before it is answered, so a process that is killed can be
// followed by another that finds the same servers on the same addresses, with drivers half-way through a start.
//
// # What is a guess
//
// The vendor documents neither the framing of several arguments nor the polarity of the resync flag; both are settings
// ([Config].Framing, ResyncFlag). Which LDAP result code goes with which NDS error, the answer to starting a running or
// a disabled driver (-641 here), to disabling a running driver (-641 here), the layout of the named password list (a
// SEQUENCE of SEQUENCEs of name and display name), the names of the monitor entries, that a raw write of
// DirXML-ShimAuthPassword does not reach the engine, and whether an association works at once ([Config].Association)
// are inferred as well.
package idmtest
