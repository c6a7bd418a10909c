package idm

import (
	"context"
	"slices"
	"strings"
)

// attributeRole says what an export and an import do with an attribute.
type attributeRole int

const (
	// roleReplicated: the same on all servers; written with the object.
	roleReplicated attributeRole = iota
	// roleReference: replicated, and its values name other objects; written when all objects exist.
	roleReference
	// rolePerServer: each server has its own value; written only through a connection to that server.
	rolePerServer
	// roleNote: owned by the engine; noted for people and never written.
	roleNote
	// roleOmit: computed by the server, or a secret; neither exported nor written.
	roleOmit
)

// attributeRoles is what exports and imports know about attributes, by lower-case name.
type attributeRoles struct {
	byName map[string]attributeRole
	schema Schema
}

func (r attributeRoles) of(name string) attributeRole {
	base, _, _ := strings.Cut(strings.ToLower(name), ";")
	return r.byName[base]
}

// idmClasses are the classes of the DirXML schema (schema dump), the most telling first.
var idmClasses = []string{"DirXML-DriverSet", "DirXML-Driver", "DirXML-Publisher", "DirXML-Subscriber",
	"DirXML-StyleSheet", "DirXML-Rule", "DirXML-Library", "DirXML-Resource", "DirXML-Job", "DirXML-GlobalConfigDef",
	"DirXML-SharedProfileSet", "DirXML-SharedProfile", "DirXML-Entitlement"}

// notedAttributes are the engine's own attributes an export mentions, so that people see what a driver was set to.
var notedAttributes = []string{"DirXML-DriverStartOption", "DirXML-DriverCacheLimit", "DirXML-DriverVersion"}

// foreignReferences are attributes outside of the DirXML schema that name other objects and have to wait for them.
var foreignReferences = []string{"ACL", "securityEquals", "member", "seeAlso"}

// computed are attributes a directory server computes or keeps for itself, of eDirectory and of OpenLDAP, and login
// secrets. Written back they would be refused, or worse, accepted.
var computed = strings.Fields(`GUID revision localEntryID creatorsName modifiersName createTimestamp modifyTimestamp
	creationTimestamp structuralObjectClass entryUUID entryCSN entryDN subschemaSubentry hasSubordinates numSubordinates
	subordinateCount entryFlags backLink obituary reference usedBy privateKey publicKey userPassword federationBoundary auxClassFlag
	objectVersion contextCSN passwordExpirationTime loginGraceRemaining equivalentToMe`)

func rolesFrom(schema Schema) attributeRoles {
	r, table := attributeRoles{byName: map[string]attributeRole{}, schema: schema}, TableSchema()
	for key, t := range schema.types {
		_, known := table.types[key]
		r.byName[key] = roleOfType(t, known)
	}
	for role, names := range map[attributeRole][]string{roleOmit: computed, roleReference: foreignReferences} {
		for _, name := range names {
			r.byName[strings.ToLower(name)] = role
		}
	}
	return r
}

// roleOfType is the role of one attribute; known ones are in the table.
func roleOfType(t AttributeType, known bool) attributeRole {
	switch {
	case slices.Contains(notedAttributes, t.Name):
		return roleNote
	case t.Hidden || t.EngineOwned || t.Copying == CopyingSecret || strings.EqualFold(t.Name, "DirXML-Associations"):
		return roleOmit
	case t.PerServer && t.Copying == CopyingNever && known:
		return roleOmit
	case t.PerServer:
		return rolePerServer
	case t.Syntax == syntaxDN || t.Syntax == syntaxTypedName:
		return roleReference
	}
	return roleReplicated
}

func (s *Server) attributeRoles(ctx context.Context) (attributeRoles, error) {
	schema, err := s.Schema(ctx)
	return rolesFrom(schema), err
}

func isDirXML(name string) bool { return len(name) > 7 && strings.EqualFold(name[:7], "DirXML-") }

// requested returns the attributes to ask for: a plain "*" leaves out the operational ones.
func (r attributeRoles) requested() []string {
	return append([]string{"*"}, r.names(rolePerServer, roleNote, roleReference)...)
}

func (r attributeRoles) names(roles ...attributeRole) []string {
	var names []string
	for name, role := range r.byName {
		if slices.Contains(roles, role) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r attributeRoles) split(e Entry, server string) *object {
	o := &object{dn: e.DN, made: true}
	job := e.HasClass("DirXML-Job")
	for _, a := range e.Attributes {
		if t, known := r.schema.Attribute(a.Name); known && strings.EqualFold(t.Name, a.Name) {
			a.Name = t.Name // a server may answer in the case it was asked in
		}
		if a.Values = withoutEmpty(withoutLocks(a.Values)); len(a.Values) > 0 {
			o.put(r.in(a.Name, job), a, server)
		}
	}
	return o
}

// in is the role within a class: a job cannot be created without its server list.
func (r attributeRoles) in(name string, job bool) attributeRole {
	if job && strings.EqualFold(name, "DirXML-ServerList") {
		return roleReplicated
	}
	return r.of(name)
}

// fallbackRoles is what the table alone says, for callers that need nothing beyond it or have no server at hand.
func fallbackRoles() attributeRoles { return rolesFrom(TableSchema()) }
