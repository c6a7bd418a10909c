package ldif

import "strings"

// Kind says what a record asks for. Those that delete or rename an entry are refused: no export has them.
type Kind int

const (
	// Content is a record without changetype: the entry as it is.
	Content Kind = iota
	// Add creates the entry.
	Add
	// Modify changes attributes of the entry.
	Modify
)

// Op is what one change of a Modify record does.
type Op int

const (
	// OpAdd adds values.
	OpAdd Op = iota
	// OpDelete removes the named values, or the whole attribute when none is named.
	OpDelete
	// OpReplace puts the values in the place of all present ones.
	OpReplace
)

var opNames = [...]string{OpAdd: "add", OpDelete: "delete", OpReplace: "replace"}

// Attribute is an attribute with its values in file order.
type Attribute struct {
	Name   string // attribute description as written, options included
	Line   int    // line of its first value; 0 when not read from a file
	Values [][]byte
}

// Change is one part of a Modify record.
type Change struct {
	Op Op
	Attribute
}

// Control is a control a change record carries.
type Control struct {
	OID      string
	Critical bool
	HasValue bool
	Value    []byte
}

// Record is one record of a file.
type Record struct {
	Line       int // line of its "dn:"; 0 when not read from a file
	DN         string
	Kind       Kind
	Controls   []Control
	Attributes []Attribute // Content, Add
	Changes    []Change    // Modify
}

// Get returns the attribute of that name, without regard to case, or nil.
func (r *Record) Get(name string) *Attribute {
	for i := range r.Attributes {
		if strings.EqualFold(r.Attributes[i].Name, name) {
			return &r.Attributes[i]
		}
	}
	return nil
}
