// Package runbook makes an operator's program of procedures: the verbs, the strict configuration file, the secrets, the
// consent of a person, the lines of a run and the exit statuses. A program of a team's own is a [Program] with its
// name, its procedures and a function that builds one of them from the configuration file:
//
//	os.Exit(runbook.Program{Name: "move", Procedures: []string{"there", "back"}, Build: build}.Main(os.Args[1:]))
//
// # Consent
//
// Nothing is changed before somebody has seen what will be done and has agreed to it. This holds for run, undo,
// take-over and for the verbs of a program's own that change something.
//
//   - On a terminal the program shows the plan and asks once for all of it. It then asks once more for each step that cannot
//     be taken back, right before the step, and for each step that is no longer as the plan has shown it.
//   - An answer is a word of what is shown: the name of the target or the beginning of the hash. "yes" is no answer. What was
//     typed before the question was shown is discarded.
//   - Without a terminal, -approve takes the place of the answers: the findings hash of the plan that was approved, for an
//     undo that of the plan of the undo, for take-over the holder, or the holders with commas. What that plan did not show stops the run.
//   - Without a terminal and without -approve the program shows the plan, changes nothing and ends with status 4.
//
// Each consent is written to the journal: who, from where, to which hash, and what was shown.
//
// # Exit statuses
//
//	0  done: what was asked for is so
//	1  not done: nothing of the journal's runs is in effect, and nothing is in doubt
//	2  called wrongly, or with a journal that does not fit the verb; nothing was done
//	3  in doubt: a change, an undo or a take-over may have taken effect, or the journal cannot be read
//	4  a person is needed: to consent, to do a manual step, to look
//	5  part-way or interrupted: changes of the journal are in effect or may be, and none is known to be in doubt
//	6  blocked: a step or a check stands in the way; nothing was done
//
// They are read from the journal, and not from the error: see [StatusOf]. A verb that only reads (check, plan, status,
// report, lock) ends with 0 when it could answer, with 6 when check or plan found what stands in the way, and with 1
// when it could not look.
package runbook
