// Package opcontest is an OpCon REST API to test against, in the manner of net/http/httptest: it listens on 127.0.0.1
// with TLS and models machines, groups, daily schedules with subschedules, daily jobs and asynchronous actions the way
// the vendor's documentation and its public clients describe them, including the nasty parts:
//
//   - actions stay "submitted" for a while, and their items may end differently;
//   - a machine that is down sends the jobs of schedules that are not held to their alternate machines;
//   - midnight builds the next date, not on hold;
//   - an agent answers late or not at all (W, then U or E), and one on another host reports the jobs of the old host as
//     failed;
//   - a stuck count keeps currentJobs above 0 for ever;
//   - filters and paging may be ignored, rows may shift between pages, both spellings of field names exist;
//   - replies get lost before or after the effect, tokens expire in the middle, proxies answer in HTML.
//
// Time inside the server is counted in requests, not in seconds, so that tests do not sleep: every request moves
// actions, agents and jobs one tick on.
//
// The server is strict. What it does not know (a route, a query parameter, a field, a record sent back changed, any
// kind of kill) it refuses and remembers; see [Server.Violations]. Every effect is counted; see [Server.Effects].
//
// What is inferred about the real system is inferred here too: the numbers of statuses, when failed jobs of the old
// host are reported, and that a hold of a held schedule is refused.
package opcontest
