// Package wsfc holds the scripts for Windows cluster nodes and the documents they take and give. The driver in package
// cluster sends them; the simulator in package clustertest knows them.
package wsfc

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"strings"

	"github.com/01b61c5c/failover/internal/powershell"
)

//go:embed *.ps1
var files embed.FS

// Names of the scripts.
const (
	Snapshot      = "snapshot"
	Inspect       = "inspect"
	Move          = "move"
	GroupState    = "group-state"
	ResourceState = "resource-state"
	NodeState     = "node-state"
	Failback      = "failback"
	Service       = "service"
	Mark          = "mark"
)

// Script returns the script of that name; an empty one, which is refused, when there is none.
func Script(name string) powershell.Script {
	text, err := files.ReadFile(name + ".ps1")
	if err != nil {
		return powershell.Script{Name: name}
	}
	return powershell.Script{Name: name, Text: string(text)}
}

// Names returns the names of all scripts.
func Names() []string {
	return []string{Snapshot, Inspect, Move, GroupState, ResourceState, NodeState, Failback, Service, Mark}
}

// Request is the parameter document of every script; each reads its own fields.
type Request struct {
	Group    string `json:"group,omitempty"`
	Node     string `json:"node,omitempty"`
	Resource string `json:"resource,omitempty"`
	Service  string `json:"service,omitempty"`
	Want     string `json:"want,omitempty"`
	Type     int    `json:"type"`
	Key      string `json:"key,omitempty"`
	Swap     bool   `json:"swap,omitempty"`
	Old      string `json:"old,omitempty"`
	Text     string `json:"text,omitempty"`
}

// State is the answer of snapshot.ps1. Numbers come as text: PowerShell renders 64-bit enumerations as text before
// version 7.5 and unlimited values as negative or unsigned numbers (seen).
type State struct {
	Cluster   string         `json:"cluster"`
	Local     string         `json:"local"`
	Backup    *Number        `json:"backup"` // nil: not said
	Nodes     List[Node]     `json:"nodes"`
	Groups    List[Group]    `json:"groups"`
	Resources List[Resource] `json:"resources"`
	Marks     List[MoveMark] `json:"marks"`
}

// MoveKey is the key of the mark of a move, made from the group's name, which may hold anything.
func MoveKey(group string) string {
	return fmt.Sprintf("failover-move-%x", sha256.Sum256([]byte(strings.ToLower(group))))[:30]
}

// MoveMark is the mark of a move that was asked for.
type MoveMark struct {
	Key  string `json:"key"`
	Text string `json:"text"`
}

// Node is one node.
type Node struct {
	Name      string  `json:"name"`
	State     string  `json:"state"`
	Code      *Number `json:"code"` // nil: not said
	Drain     string  `json:"drain"`
	DrainCode *Number `json:"drainCode"` // nil: not said
	Info      Number  `json:"info"`      // a node before Windows Server 2016 has none
	Build     string  `json:"build"`
}

// Group is one group.
type Group struct {
	Name     string  `json:"name"`
	State    string  `json:"state"`
	Code     *Number `json:"code"` // nil: not said
	Owner    string  `json:"owner"`
	Type     string  `json:"type"`
	Core     bool    `json:"core"`
	Locked   bool    `json:"locked"`
	Info     *Number `json:"info"`     // nil: not said
	Failback *Number `json:"failback"` // nil: not said
	Failed   string  `json:"failed"`   // why some of it could not be read
}

// Resource is one resource.
type Resource struct {
	Name        string       `json:"name"`
	Group       string       `json:"group"`
	Type        string       `json:"type"`
	State       string       `json:"state"`
	Code        *Number      `json:"code"` // nil: not said
	Owner       string       `json:"owner"`
	Core        bool         `json:"core"`
	Maintenance bool         `json:"maintenance"`
	PendingMs   Number       `json:"pendingMs"`
	Depends     string       `json:"depends"`
	Service     string       `json:"service"`
	Possible    List[string] `json:"possible"` // nil: not said; empty: nobody may own it
	Failed      string       `json:"failed"`   // why some of it could not be read
}

// Inspection is the answer of inspect.ps1.
type Inspection struct {
	Node    string       `json:"node"`
	Build   string       `json:"build"`
	Reasons List[string] `json:"reasons"`
}

// Marked is the answer of mark.ps1.
type Marked struct {
	Text    string `json:"text"`
	Swapped bool   `json:"swapped"`
}
