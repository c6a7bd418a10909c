// Package failovertest helps to test procedures, steps, locks and stores of a team's own: a journal and a lock in
// memory, the rules every [failover.Lock] and [failover.Store] has to keep, a crash at every record of a run, and the
// comparison of a package's documentation with the steps of its procedures. Clocks are those of testing/synctest: the
// engine sleeps and reads the time through package time only.
package failovertest
