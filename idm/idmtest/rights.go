package idmtest

import (
	"strconv"
	"strings"
)

// Rights of an attribute and of an entry, as eDirectory numbers them in ACL values.
const (
	rightCompare    = 1
	rightRead       = 2
	rightWrite      = 4
	rightSelf       = 8
	rightSupervisor = 32

	entryBrowse     = 1
	entryCreate     = 2
	entryDelete     = 4
	entryRename     = 8
	entrySupervisor = 16
)

const (
	entryRights   = "[Entry Rights]"
	allAttributes = "[All Attributes Rights]"
	publicTrustee = "[Public]"
	selfTrustee   = "[Self]"
	rootTrustee   = "[Root]"
	maskTrustee   = "[Inheritance Mask]" // its rights are those that come down from above
)

type acl struct {
	rights  int
	subtree bool
	trustee string // comparison key, or one of the bracketed names in lower case
	attr    string // lower case
}

// parseACL reads "privileges#scope#trustee#attribute".
func parseACL(value string) (acl, bool) {
	parts := strings.Split(value, "#")
	if len(parts) != 4 {
		return acl{}, false
	}
	rights, err := strconv.Atoi(parts[0])
	if err != nil || rights < 0 || parts[1] != "subtree" && parts[1] != "entry" {
		return acl{}, false
	}
	trustee := strings.ToLower(parts[2])
	if !strings.HasPrefix(trustee, "[") {
		name, err := parseDN(parts[2])
		if err != nil || len(name) == 0 {
			return acl{}, false
		}
		trustee = name.key()
	}
	return acl{rights: rights, subtree: parts[1] == "subtree", trustee: trustee, attr: strings.ToLower(parts[3])}, true
}

// readACL is parseACL with a memory: the same few values are read for every entry of a search.
func (t *Tree) readACL(value string) (acl, bool) {
	if a, ok := t.acls[value]; ok {
		return a, true
	}
	a, ok := parseACL(value)
	if ok {
		t.acls[value] = a
	}
	return a, ok
}

// trustees are the names under which a caller holds rights.
func (t *Tree) trustees(caller *node) map[string]bool {
	set := map[string]bool{strings.ToLower(publicTrustee): true}
	if caller == nil {
		return set
	}
	set[strings.ToLower(rootTrustee)] = true
	for e := caller; e.parent != nil; e = e.parent {
		set[e.dn().key()] = true
	}
	for _, v := range caller.shared["securityequals"].values {
		set[dnKey(string(v))] = true
	}
	return set
}

// granted collects the rights of the caller on one attribute of n, attr being an attribute name or "[Entry Rights]".
func (t *Tree) granted(caller *node, n *node, attr string) int {
	attr = strings.ToLower(attr)
	names := t.trustees(caller)
	all := strings.ToLower(allAttributes)
	rights, mask := 0, -1
	for e := n; e != nil; e = e.parent {
		above := mask
		for _, v := range e.shared["acl"].values {
			a, ok := t.readACL(string(v))
			if ok && a.trustee == strings.ToLower(maskTrustee) && a.attr == attr {
				above &= a.rights
			}
			if !ok || !a.subtree && e != n {
				continue
			}
			if !names[a.trustee] && !(a.trustee == strings.ToLower(selfTrustee) && caller == n) {
				continue
			}
			switch {
			case a.attr == strings.ToLower(entryRights):
				if attr == a.attr {
					rights |= a.rights & mask
				} else if a.rights&entrySupervisor != 0 {
					rights |= rightSupervisor
				}
			case a.attr == attr, a.attr == all && attr != strings.ToLower(entryRights):
				rights |= a.rights & mask
			}
		}
		mask = above
	}
	return rights
}

func (t *Tree) supervisor(caller *node, n *node) bool {
	return caller != nil && t.granted(caller, n, entryRights)&entrySupervisor != 0
}

func (t *Tree) mayEntry(caller *node, n *node, right int) bool {
	return t.granted(caller, n, entryRights)&(right|entrySupervisor) != 0
}

func (t *Tree) mayRead(caller *node, n *node, at *attrType) bool {
	if at.has(publicRead) {
		return true
	}
	switch at.name {
	case "objectClass", "entryDN", "structuralObjectClass", "subschemaSubentry", "subordinateCount":
		return true
	}
	return t.granted(caller, n, at.name)&(rightRead|rightSupervisor) != 0
}

func (t *Tree) mayWrite(caller *node, n *node, attr string) bool {
	return t.granted(caller, n, attr)&(rightWrite|rightSupervisor) != 0
}
