package idmtest

import (
	"time"
)

func getVersion(k *call) *result { return valueOf(newInteger(int64(k.srv.engine.Version))) }

func getDriverSet(k *call) *result {
	for _, id := range sortedKeys(k.srv.engine.Serves) {
		switch n := k.tree.nodes[id]; {
		case n == nil:
		case k.tree.cfg.SlashNames:
			return valueOf(newString(slashName(k.tree.cfg.Name, n)))
		default:
			return valueOf(newString(n.String()))
		}
	}
	return nds(-601)
}

// setDriverSet associates the connected server with the set. A server works for one set at a time.
func setDriverSet(k *call) *result {
	for id := range k.srv.engine.Serves {
		if id != k.n.id {
			return nds(-641)
		}
	}
	at := k.tree.schema.attr("DirXML-ServerList")
	if !hasName(k.n.stored(at, k.srv.name), k.srv.dn) {
		old := k.n.shared["dirxml-serverlist"].values
		k.n.shared["dirxml-serverlist"] = attribute{name: at.name, values: append(old[:len(old):len(old)], []byte(k.srv.dn))}
		k.tree.touch(k.n)
	}
	if k.tree.cfg.Association == AssociationAtOnce {
		k.srv.engine.adopt(k.srv, k.n)
	}
	return &result{}
}

// clearDriverSet ends the association. Drivers that run on this server are stopped first by the administrator, not by
// the engine.
func clearDriverSet(k *call) *result {
	e := k.srv.engine
	for _, id := range sortedKeys(e.Serves) {
		set := k.tree.nodes[id]
		if !k.configures() && !k.tree.mayWrite(k.c.bound, set, "DirXML-AccessConfigure") {
			return nds(-672)
		}
		for _, d := range e.drivers {
			if d.State != StateStopped {
				return nds(-641)
			}
		}
		var kept [][]byte
		for _, v := range set.shared["dirxml-serverlist"].values {
			if dnKey(string(v)) != dnKey(k.srv.dn) {
				kept = append(kept, v)
			}
		}
		if len(kept) == 0 {
			delete(set.shared, "dirxml-serverlist")
		} else {
			set.shared["dirxml-serverlist"] = attribute{name: "DirXML-ServerList", values: kept}
		}
		delete(e.Serves, id)
		k.tree.touch(set)
	}
	k.tree.markServer(k.srv)
	return &result{}
}

// initDriver makes the engine know a driver that was created after it loaded the set.
func initDriver(k *call) *result {
	set := setOf(k.n)
	if set == nil || !k.srv.engine.Serves[set.id] {
		return nds(-603)
	}
	k.srv.engine.know(k.srv, k.n)
	return &result{}
}

func getStartOption(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	return valueOf(newInteger(int64(k.d.Option)))
}

func setStartOption(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	option, flag := k.args[0].number, k.args[1].number
	if option < int64(StartDisabled) || option > int64(StartAuto) || flag < 0 || flag > 1 {
		return nds(-641)
	}
	if StartOption(option) == StartDisabled && k.d.State != StateStopped {
		return nds(-641)
	}
	k.tree.setOption(k.srv, k.n, k.d, StartOption(option), k.tree.cfg.ResyncFlag.meansNot(flag))
	return &result{}
}

func getState(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	return valueOf(newInteger(int64(k.d.State)))
}

func start(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	if k.d.Option == StartDisabled || k.d.State != StateStopped {
		return nds(-641)
	}
	if wait := k.d.Behaviour.BeginAfter; wait > 0 {
		k.d.Next = []transition{{To: StateStarting, At: k.tree.now().Add(wait)}}
		k.tree.markDriver(k.srv, k.n.id)
		return &result{}
	}
	k.tree.startDriver(k.srv, k.n, k.d)
	return &result{}
}

func stop(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	if k.d.State != StateStarting && k.d.State != StateRunning {
		return nds(-641)
	}
	k.tree.stopDriver(k.srv, k.n, k.d)
	return &result{}
}

func restart(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	switch {
	case k.d.Option == StartDisabled:
		return nds(-641)
	case k.d.State == StateStopped:
		k.tree.startDriver(k.srv, k.n, k.d)
	case k.d.State == StateRunning:
		k.tree.restartDriver(k.srv, k.n, k.d)
	default:
		return nds(-641)
	}
	return &result{}
}

// getSchema lets the shim read the application schema; the driver shows state 11 meanwhile.
func getSchema(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	if k.d.Option == StartDisabled || k.d.State != StateStopped {
		return nds(-641)
	}
	k.tree.setState(k.srv, k.n.id, k.d, StateGettingSchema)
	k.d.Next = []transition{{To: StateStopped, At: k.tree.now().Add(k.tree.cfg.StartTime)}}
	return &result{}
}

func resyncSince(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	seconds := k.args[0].number
	if seconds < 0 || k.d.Option == StartDisabled {
		return nds(-641)
	}
	k.tree.counters(k.n.id).Resyncs++
	k.tree.resync(k.srv, k.n, k.d, time.Unix(seconds, 0))
	k.tree.markDriver(k.srv, k.n.id)
	return &result{}
}

func queueEvent(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	if k.d.Option == StartDisabled || len(k.args[0].octets) == 0 {
		return nds(-641)
	}
	k.d.Cache = append(k.d.Cache, event{At: k.tree.now(), XML: k.args[0].text()})
	k.tree.deliver(k.srv, k.n.id, k.d)
	k.tree.markDriver(k.srv, k.n.id)
	return &result{}
}
