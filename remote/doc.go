// Package remote runs commands and moves files on one machine over SSH and says truthfully what became of them.
//
// A [Host] holds at most one connection that is in use, shared by concurrent calls and replaced when it is dead.
// Every call ends with its context, in every phase: TCP connect, key exchange, login, opening a session, the exec
// request, the command itself.
//
// # What is known after a call
//
// The exec request is one SSH packet: it arrives whole or not at all. So the evidence is simple:
//
//   - an exit status came back: Run returns no error and [Result.Exit];
//   - the request provably never left this machine, or the server refused it: failover.NotApplied;
//   - it was sent, and no exit status came back (line dropped, deadline, channel closed, killed by a signal):
//     failover.InDoubt.
//
// A call whose request was provably not sent is repeated once on a fresh connection. One that was sent is never
// repeated. A command is not stopped when its context ends: without a terminal the SSH server sends it no signal
// (OpenSSH: seen), and many old servers know no signal requests.
//
// # Trust and login
//
// The host key is checked before anything is sent that a wrong machine could use. One login is tried per connection:
// AIX counts failed passwords (loginretries) and locks the account, so a password goes out at most once per
// connection, and a password that was refused is not sent again by the same Host.
package remote
