package idmtest

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// The syntaxes this server distinguishes. The value is the OID the subschema shows.
const (
	synString    = "1.3.6.1.4.1.1466.115.121.1.15"
	synInteger   = "1.3.6.1.4.1.1466.115.121.1.27"
	synBoolean   = "1.3.6.1.4.1.1466.115.121.1.7"
	synBinary    = "1.3.6.1.4.1.1466.115.121.1.5"
	synOctets    = "1.3.6.1.4.1.1466.115.121.1.40"
	synName      = "1.3.6.1.4.1.1466.115.121.1.12"
	synTime      = "1.3.6.1.4.1.1466.115.121.1.24"
	synOID       = "1.3.6.1.4.1.1466.115.121.1.38"
	synUnknown   = "2.16.840.1.113719.1.1.5.1.0"
	synList      = "2.16.840.1.113719.1.1.5.1.6"
	synAddress   = "2.16.840.1.113719.1.1.5.1.12"
	synTagged    = "2.16.840.1.113719.1.1.5.1.13"
	synPath      = "2.16.840.1.113719.1.1.5.1.15"
	synACL       = "2.16.840.1.113719.1.1.5.1.17"
	synTimestamp = "2.16.840.1.113719.1.1.5.1.19"
	synTyped     = "2.16.840.1.113719.1.1.5.1.25"
)

// trait is a property of an attribute type beyond its syntax.
type trait int

const (
	single      trait = 1 << iota
	perServer         // X-NDS_NEVER_SYNC: every server keeps its own value
	engineOwned       // NO-USER-MODIFICATION
	operational       // not part of "*"
	hidden            // never readable
	publicRead        // readable without rights
	rightsOnly        // protected by ACLs, holds no value
	quietOwned        // engine-owned, but the schema does not say so
)

type attrType struct {
	name    string
	oid     string
	syntax  string
	traits  trait
	classes []string // lower case; empty: allowed on every class
}

func (t *attrType) has(x trait) bool { return t.traits&x != 0 }

type classType struct {
	name      string
	oid       string
	must      []string
	in        []string // classes that may contain it, lower case; nil: any container
	auxiliary bool
	leaf      bool
}

// schema is the set of types one tree knows.
type schema struct {
	attrs    map[string]*attrType
	attrList []*attrType
	classes  map[string]*classType
	classIDs []*classType
}

const (
	dirxmlAttr  = "2.16.840.1.113719.1.14.4.1."
	dirxmlClass = "2.16.840.1.113719.1.14.6.1."
)

func newSchema() *schema {
	s := &schema{attrs: map[string]*attrType{}, classes: map[string]*classType{}}
	for _, t := range baseAttributes {
		s.addAttr(t.name, t.oid, t.syntax, t.traits, "")
	}
	for _, t := range dirxmlAttributes {
		s.addAttr(t.name, dirxmlAttr+strconv.Itoa(t.number), t.syntax, t.traits, t.on)
	}
	for i := range allClasses {
		c := allClasses[i]
		s.classes[strings.ToLower(c.name)] = &c
		s.classIDs = append(s.classIDs, &c)
	}
	return s
}

func (s *schema) addAttr(names, oid, syntax string, traits trait, on string) {
	list := strings.Fields(names)
	t := &attrType{name: list[0], oid: oid, syntax: syntax, traits: traits, classes: strings.Fields(strings.ToLower(on))}
	for _, n := range list {
		s.attrs[strings.ToLower(n)] = t
	}
	s.attrs[oid] = t
	s.attrList = append(s.attrList, t)
}

// attr finds a type by name or OID; options such as ";binary" are cut off.
func (s *schema) attr(name string) *attrType {
	base, _, _ := strings.Cut(name, ";")
	return s.attrs[strings.ToLower(base)]
}

func (s *schema) class(name string) *classType { return s.classes[strings.ToLower(name)] }

// normal is the form in which two equal values of the type are the same bytes.
func (t *attrType) normal(value []byte) string {
	switch t.syntax {
	case synBinary, synOctets, synAddress, synUnknown, synTagged:
		return string(value)
	case synInteger:
		if n, err := strconv.ParseInt(strings.TrimSpace(string(value)), 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
		return string(value)
	case synName:
		return dnKey(string(value))
	case synTyped, synPath:
		name, rest, _ := strings.Cut(string(value), "#")
		return dnKey(name) + "#" + rest
	}
	return foldCase(string(value))
}

func (t *attrType) equal(a, b []byte) bool {
	return bytes.Equal(a, b) || t.normal(a) == t.normal(b)
}

func (t *attrType) compare(a, b []byte) int {
	if t.syntax == synInteger {
		x, errX := strconv.ParseInt(strings.TrimSpace(string(a)), 10, 64)
		y, errY := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if errX == nil && errY == nil {
			return cmp.Compare(x, y)
		}
	}
	return strings.Compare(t.normal(a), t.normal(b))
}

// namedEntry returns the name a value refers to and what follows it, for the syntaxes that hold one.
func (t *attrType) namedEntry(value string) (name, rest string, ok bool) {
	switch t.syntax {
	case synName:
		return value, "", true
	case synTyped, synPath:
		name, rest, found := strings.Cut(value, "#")
		return name, "#" + rest, found
	}
	return "", "", false
}

// wellFormed tells whether a client may write value.
func (t *attrType) wellFormed(value []byte) bool {
	text := string(value)
	switch t.syntax {
	case synInteger:
		_, err := strconv.ParseInt(text, 10, 32)
		return err == nil
	case synBoolean:
		return text == "TRUE" || text == "FALSE"
	case synName:
		_, err := parseDN(text)
		return err == nil && text != ""
	case synTyped, synPath:
		parts := strings.SplitN(text, "#", 3)
		if len(parts) != 3 {
			return false
		}
		if _, err := parseDN(parts[0]); err != nil || parts[0] == "" {
			return false
		}
		_, err := strconv.ParseUint(parts[1], 10, 32)
		if err == nil && t.syntax == synTyped {
			_, err = strconv.ParseUint(parts[2], 10, 32)
		}
		return err == nil
	case synACL:
		_, ok := parseACL(text)
		return ok
	case synTime:
		return len(text) >= 15 && strings.HasSuffix(text, "Z")
	}
	return true
}

// definition is the line the subschema shows for the type.
func (t *attrType) definition() string {
	var b strings.Builder
	fmt.Fprintf(&b, "( %s NAME '%s' SYNTAX %s", t.oid, t.name, t.syntax)
	if t.syntax == synOctets || t.syntax == synString {
		b.WriteString("{64512}")
	}
	if t.has(single) {
		b.WriteString(" SINGLE-VALUE")
	}
	if t.has(engineOwned) && !t.has(quietOwned) {
		b.WriteString(" NO-USER-MODIFICATION")
	}
	if t.has(engineOwned) || t.has(operational) {
		b.WriteString(" USAGE directoryOperation")
	}
	if t.has(perServer) {
		b.WriteString(" X-NDS_NEVER_SYNC '1'")
	}
	if t.has(publicRead) {
		b.WriteString(" X-NDS_PUBLIC_READ '1'")
	}
	if t.has(hidden) {
		b.WriteString(" X-NDS_HIDDEN '1'")
	}
	b.WriteString(" )")
	return b.String()
}

func (c *classType) definition() string {
	var b strings.Builder
	fmt.Fprintf(&b, "( %s NAME '%s' SUP Top", c.oid, c.name)
	if c.auxiliary {
		b.WriteString(" AUXILIARY")
	} else {
		b.WriteString(" STRUCTURAL")
	}
	if len(c.must) > 0 {
		b.WriteString(" MUST ( " + strings.Join(c.must, " $ ") + " )")
	}
	if len(c.in) > 0 {
		b.WriteString(" X-NDS_CONTAINMENT ( '" + strings.Join(c.in, "' '") + "' )")
	}
	b.WriteString(" )")
	return b.String()
}
