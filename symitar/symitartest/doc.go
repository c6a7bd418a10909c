// Package symitartest is a Symitar host pair on 127.0.0.1, in the manner of net/http/httptest: two SSH servers, each
// with a folder of its own in which the real scripts of package symitar run under the real /bin/sh.
//
// What only an AIX host with Episys has (lssrc, lsitab, QUEUECONTROL, errpt, the agent's control script, volume groups)
// are small scripts that come first in the PATH. The FAILOVER macro is a script as well: it swaps the roles in steps
// and counts each execution. Paths in the configuration begin with [Root]; each host sees its own folder there, so that
// names and paths stay the same from call to call.
//
// All state lives in one folder. [Open] goes on with it in another process, with the same host keys on other ports, as
// a run does that is resumed after its process was killed. Faults are armed by name, see [Faults].
//
// It needs a Unix-like system with /bin/sh, ps, awk and the usual small tools.
package symitartest
