package idmtest

import "time"

// engineJob is one job as one engine knows it. The engine reads the job's server list when it loads the set and when it
// is told that the job was updated, not in between.
type engineJob struct {
	Here    bool // the server list names this server
	Running time.Time
}

func jobNames(n *node, s *Server) bool {
	return hasName(n.stored(s.tree.schema.attr("DirXML-ServerList"), s.name), s.dn)
}

func (k *call) job() *engineJob {
	set := setOf(k.n)
	if set == nil || !k.srv.engine.Serves[set.id] {
		return nil
	}
	return k.srv.engine.jobs[k.n.id]
}

func updateJob(k *call) *result {
	set := setOf(k.n)
	if set == nil || !k.srv.engine.Serves[set.id] {
		return nds(-603)
	}
	j := k.srv.engine.jobs[k.n.id]
	if j == nil {
		j = &engineJob{}
		k.srv.engine.jobs[k.n.id] = j
	}
	j.Here = jobNames(k.n, k.srv)
	return k.kept()
}

func startJob(k *call) *result {
	j := k.job()
	if j == nil {
		return nds(-603)
	}
	if !j.Here || j.Running.After(k.tree.now()) {
		return nds(-641)
	}
	j.Running = k.tree.now().Add(k.tree.cfg.StartTime)
	k.tree.counters(k.n.id).JobRuns++
	return k.kept()
}

func abortJob(k *call) *result {
	j := k.job()
	if j == nil {
		return nds(-603)
	}
	if !j.Running.After(k.tree.now()) {
		return nds(-641)
	}
	j.Running = time.Time{}
	return k.kept()
}

func jobState(k *call) *result {
	j := k.job()
	if j == nil {
		return nds(-603)
	}
	running := int64(0)
	if j.Running.After(k.tree.now()) {
		running = 1
	}
	return valueOf(newInteger(running), newInteger(0))
}

// RunsJob tells whether the engine of this server takes a job for its own.
func (s *Server) RunsJob(job string) bool {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	n := s.tree.find(job)
	return n != nil && s.engine.jobs[n.id] != nil && s.engine.jobs[n.id].Here
}
