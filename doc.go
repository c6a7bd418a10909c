/*
Package failover moves a running service from one machine to another and tells the truth about it: what will happen,
what is happening, and afterwards what happened, also when the line dropped half-way.

It is the vocabulary and the engine. A [Procedure] is an ordered list of [Step] values. [Procedure.Plan] observes and
changes nothing; [Procedure.Run] applies what is not so yet, writing each intent to a [Journal] before the effect and
each outcome after it; running again with the same journal resumes; [Procedure.Undo] takes back what can be taken back;
[Procedure.Report] tells what became of every step, and [Journal.Report] does so from the journal alone, when nothing
else can be reached.

# Three outcomes

A change ends [Applied], [NotApplied] or [InDoubt]. In doubt means that the request may have taken effect and the
proof was lost. The engine never repeats a [Once] in that state: it asks the step's Probe, and when that cannot tell
either, the run stops with [ErrInDoubt] until the target can be read or a person settles it with [Journal.Resolve].
Errors carry their outcome and the next action; read them with [OutcomeOf] and [NextOf].

# What the engine promises

 1. Nothing is changed before its intent is on disk.
 2. A Once takes effect at most once over all runs of one journal, as far as its Probe tells the truth.
 3. Nothing is changed without the procedure's [Lock], which is checked again before each change.
 4. A person or a policy is asked at one place, the [Gate], and sees what was observed immediately before.
 5. An approval given for a plan is void when the findings are no longer the same. What a run waits for whatever the plan
    has found is not among them.
 6. An undo never passes a step that cannot be undone, and never begins while an outcome is in doubt.
 7. Every call ends with its context, and no goroutine outlives it.

# What it does not promise

The journal is a file on one machine: it stops a second process there, and the Lock in the target system stops the
other machines. A procedure without a Lock has only the first. A journal that is deleted takes its memory with it.
Plans show where things stand; they do not simulate what later steps will find.

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
