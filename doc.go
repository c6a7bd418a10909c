/*
Package failover moves a running service from one machine to another and tells the truth about it: what will happen,
what is happening, and afterwards what happened, also when the line dropped half-way.

It is the vocabulary and the engine. A [Procedure] is a list of named [Stage] values, each an ordered list of [Step]
values. [Procedure.Plan] observes and changes nothing; [Procedure.Run] applies what is not so yet, writing each intent to a
[Journal] before the effect and each outcome after it; running again with the same journal resumes; [Procedure.Undo] takes
back what can be taken back; [Journal.Report] tells what became of every step, from the journal alone. [Join] makes one
procedure of several.

# Three outcomes

A change ends [Applied], [NotApplied] or [InDoubt]. In doubt means that the request may have taken effect and the
proof was lost. NotApplied is a proof about one attempt: a refusal of a later one says nothing about an earlier one whose
reply was lost. Only four things close a doubt: the wanted state is observed, the step's Probe proves what happened, the
proof that this very attempt did nothing where no earlier one is open, or a person, with [Journal.Resolve]. The engine
never repeats a [Once] that is in doubt. Errors carry their outcome and the next action; read them with [OutcomeOf] and
[NextOf].

# What the engine promises

 1. Nothing is changed before its intent is durable.
 2. A Once takes effect at most once over all runs of one journal, as far as its Probe tells the truth; also when the
    journal has lost its end.
 3. Nothing is changed without the procedure's [Lock], which is checked again before each change. Two machines with copies
    of one journal exclude each other.
 4. A change is compared with what was shown right before it is applied, on every attempt: with the line of the approved
    plan, or with what the [Gate] agreed to. What differs is asked again.
 5. A Check that guards a step holds when that step is applied: it is looked at again on every resume, after every wait
    for a person and right before each Once.
 6. What may be in effect because of a run is never called otherwise: not by a status, a result, a report, the release of
    the lock or an undo. An undo never passes a step that cannot be undone, never begins while a change is in doubt, and
    is done when it was seen to be.
 7. Every call ends with its context. A function of the caller that does not end is left behind, and the error names it;
    a panic of it stays inside.

# What it does not promise

A journal that is deleted takes its memory with it; a run whose journal is removed stops before its next change. A copy of a
journal with which another machine has finished knows nothing of that: go on with one of them only. A procedure without a
Lock has only its journal to keep two runs apart. Plans show where things stand; they do not simulate what later steps will
find. What the engine left behind may still take effect: the step is in doubt until it was observed.

# Procedures

The systems have packages of their own, which build on this one; each package's documentation is the reference of its
procedures, step by step:

  - package symitar: Switchover, Failover and Failback of a Symitar host pair through the FAILOVER macro
  - package opcon: holding everything that OpCon runs on a machine, and releasing exactly that
  - package idm: Identity Manager drivers between eDirectory servers
  - package cluster: ownership transfer of a clustered group
  - package eft: the upgrade of EFT Server on the nodes of a failover cluster

Planned and emergency moves are two procedures, not a flag: their preconditions differ, and what cannot be observed in
an emergency enters as a [Statement] by a person.

# Writing steps

Observe says whether the wanted state holds and what was found; it changes nothing. Apply brings it about and returns
an [*Error] that says what is known of the effect: an error that says nothing counts as in doubt. What a later step
needs is a [Fact], saved in Apply before the change that makes it necessary. Undo and Change must be safe to repeat.
The runnable example of this package shows five steps of a team's own.
*/
package failover
