// Package remote runs commands and moves files on one machine over SSH and says truthfully what became of them. It is
// for steps of your own beside the packages of this module, which use it too.
//
// A [Host] is made from a failover.SSH, which is plain data, and holds at most one connection that is in use, shared by
// concurrent calls and replaced when it is dead. Every call ends with its context, in every phase: name look-up, TCP
// connect, jump hosts, key exchange, login, opening a session, the exec request, the command itself.
//
// # Commands and scripts
//
// [Host.Run] gives a [Command] to the account's login shell, without a terminal. Build its line with [ShellLine]: it
// runs a script that your program carries (a file, embedded) in a shell you name, with positional parameters. They
// arrive exact, whatever they contain; [Quote] is the only function that quotes. The account's login shell must read
// single quotes as POSIX shells do: sh, bash, ksh, dash and zsh do; csh and tcsh do not, when the script has more than
// one line. Data and secrets go to Stdin; command lines are visible in ps.
//
// # What is known after a call
//
// The exec request is one SSH packet: it arrives whole or not at all. So the evidence is simple:
//
//   - an exit status came back: Run returns no error and [Result.Exit]. The command ran; whether it did what it should
//     is for the caller to judge by the status and the output, and to observe;
//   - the request provably never left this machine, or the server refused it: failover.NotApplied;
//   - it was sent, and no exit status came back (line dropped, deadline, channel closed, killed by a signal):
//     failover.InDoubt.
//
// [Result] holds the evidence also beside an error. Once the context has ended, the session is given up, and nothing
// that the server reports afterwards counts: closing the output of a command can be what ends it.
//
// A call whose request was provably not sent is repeated once on a fresh connection. One that was sent is never
// repeated. A command is not stopped when its context ends: without a terminal the SSH server sends it no signal
// (OpenSSH: seen), and many old servers know no signal requests.
//
// # Whether the machine is alive
//
// Each way not to get in has a sentinel of its own. [AnswerOf] sums up what an error says about life; see [Answer].
//
// # Trust and login
//
// The host key is checked before anything is sent that a wrong machine could use; of a login nothing is tried on a
// wrong key. A host certificate is judged by the key inside it too. One login is tried per connection: AIX counts
// failed passwords (loginretries) and locks the account, so a password goes out at most once per connection, and a
// password that did not log in is not sent again by the same Host.
//
// Not supported: ProxyCommand (use Config.Dial), GSSAPI, hardware keys but through an agent, DSA, ~/.ssh/config.
//
// For tests, package remotetest is an SSH server with faults.
package remote
