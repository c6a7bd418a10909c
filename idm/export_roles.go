package idm

import (
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
type attributeRoles struct{ byName map[string]attributeRole }

func (r attributeRoles) of(name string) attributeRole {
	base, _, _ := strings.Cut(strings.ToLower(name), ";")
	return r.byName[base]
}

// idmClasses are the classes of the DirXML schema (schema dump), the most telling first.
var idmClasses = []string{"DirXML-DriverSet", "DirXML-Driver", "DirXML-Publisher", "DirXML-Subscriber", "DirXML-StyleSheet", "DirXML-Rule",
	"DirXML-Library", "DirXML-Resource", "DirXML-Job", "DirXML-GlobalConfigDef", "DirXML-SharedProfileSet", "DirXML-SharedProfile", "DirXML-Entitlement"}

func idmClass(name string) (string, bool) {
	for _, c := range idmClasses {
		if strings.EqualFold(c, name) {
			return c, true
		}
	}
	return "", false
}

// fallbackRoles holds what exports know without asking a server.
func fallbackRoles() attributeRoles {
	r := attributeRoles{byName: map[string]attributeRole{}}
	set := func(role attributeRole, names string) {
		for _, n := range strings.Fields(names) {
			r.byName[strings.ToLower(n)] = role
		}
	}
	set(rolePerServer, `DirXML-ShimAuthID DirXML-ShimAuthServer DirXML-ShimConfigInfo DirXML-DriverStorage DirXML-ConfigValues
		DirXML-EngineControlValues DirXML-uiXMLBigPerReplica DirXML-uiXMLSmallPerReplica DirXML-JavaEnvironmentParameters`)
	set(roleNote, `DirXML-DriverStartOption DirXML-DriverCacheLimit DirXML-DriverVersion`)
	set(roleReference, `DirXML-Policies DirXML-ServerList securityEquals ACL member equivalentToMe seeAlso`)
	set(roleOmit, `DirXML-ShimAuthPassword DirXML-MutualAuthPassword DirXML-NamedPasswords DirXML-EncryptionKeys DirXML-ServerKeys
		DirXML-State DirXML-Timestamp DirXML-Timestamp2 DirXML-LastLogTime DirXML-StatusLog DirXML-DriverId DirXML-Command DirXML-Response
		DirXML-ServerGUID DirXML-LogEvents DirXML-CacheLocation DirXML-DriverDn DirXML-Associations`)
	// What a directory server computes or keeps for itself; eDirectory and OpenLDAP.
	set(roleOmit, `GUID revision localEntryID creatorsName modifiersName createTimestamp modifyTimestamp creationTimestamp structuralObjectClass
		entryUUID entryCSN entryDN subschemaSubentry hasSubordinates numSubordinates subordinateCount entryFlags backLink obituary
		reference usedBy privateKey publicKey userPassword federationBoundary auxClassFlag objectVersion contextCSN
		passwordExpirationTime loginGraceRemaining nDSPKIUserCertificateInfo equivalentToMe`)
	return r
}
