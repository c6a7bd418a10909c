package idm

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/01b61c5c/failover/internal/enum"
)

// Copying says what CopyServerData does with an attribute, and so what a person has to do about it.
type Copying int

const (
	// CopyingReplicated: every server has the value already; there is nothing to copy.
	CopyingReplicated Copying = iota
	// CopyingValue: copied from server to server.
	CopyingValue
	// CopyingOnRequest: copied only when asked for by name, because the value may be wrong on the other server.
	CopyingOnRequest
	// CopyingSecret: never copied; the password has to be set again on each server.
	CopyingSecret
	// CopyingNever: belongs to the engine of one server, or is set by the procedures.
	CopyingNever
)

var copyingNames = []string{CopyingReplicated: "replicated", CopyingValue: "copied",
	CopyingOnRequest: "copied on request", CopyingSecret: "set again", CopyingNever: "not copied"}

// String returns the rule in words.
func (c Copying) String() string { return enum.Name(copyingNames, c) }

// AttributeType is what is known about one attribute.
type AttributeType struct {
	Name        string
	OID         string
	Syntax      string // OID of the syntax
	SingleValue bool
	PerServer   bool // X-NDS_NEVER_SYNC: each server has its own value
	EngineOwned bool // NO-USER-MODIFICATION, or refused by a loaded engine
	Hidden      bool // not readable over LDAP
	Copying     Copying
	Why         string // why it is copied or not
	Read        bool   // confirmed by the schema of the server, not only by the table
}

// Syntaxes of the table, by the names of RFC 4517 and of the NDS.
const (
	syntaxBinary    = "1.3.6.1.4.1.1466.115.121.1.5" // NDS stream: XML documents
	syntaxOctets    = "1.3.6.1.4.1.1466.115.121.1.40"
	syntaxString    = "1.3.6.1.4.1.1466.115.121.1.15"
	syntaxInteger   = "1.3.6.1.4.1.1466.115.121.1.27"
	syntaxBoolean   = "1.3.6.1.4.1.1466.115.121.1.7"
	syntaxDN        = "1.3.6.1.4.1.1466.115.121.1.12"
	syntaxTime      = "1.3.6.1.4.1.1466.115.121.1.24"
	syntaxList      = "2.16.840.1.113719.1.1.5.1.6"
	syntaxTagged    = "2.16.840.1.113719.1.1.5.1.13"
	syntaxPath      = "2.16.840.1.113719.1.1.5.1.15"
	syntaxTimestamp = "2.16.840.1.113719.1.1.5.1.19"
	syntaxTypedName = "2.16.840.1.113719.1.1.5.1.25"
)

const dirxmlAttributeOID = "2.16.840.1.113719.1.14.4.1."

// trait is a flag of a row of the table.
type trait int

const (
	single trait = 1 << iota
	perServer
	engineOwned
	hidden
)

// attributeTable is what published schema dumps and tests on live trees say about the attributes of Identity Manager.
// It is the fallback for a server whose schema cannot be read, and the only source of the copy rules.
var attributeTable = []struct {
	number       int
	name, syntax string
	traits       trait
	copying      Copying
	why          string
}{
	{3, "XmlData", syntaxBinary, single, CopyingReplicated, ""},
	{4, "DirXML-Associations", syntaxPath, 0, CopyingReplicated, "names the driver by its DN, which stays"},
	{5, "DirXML-ShimAuthID", syntaxString, single | perServer, CopyingValue, "login name of the shim"},
	{6, "DirXML-ShimAuthPassword", syntaxOctets, single | perServer, CopyingSecret,
		"encrypted with the keys of its server; set by operation 67"},
	{7, "DirXML-ShimAuthServer", syntaxString, single | perServer, CopyingValue,
		"address of the application or of the Remote Loader; it must still work from the other server"},
	{8, "DirXML-ShimConfigInfo", syntaxBinary, single | perServer, CopyingValue, "parameters of the shim"},
	{9, "DirXML-NativeModule", syntaxString, single, CopyingReplicated,
		"the module itself must be installed on each server"},
	{10, "DirXML-JavaModule", syntaxString, single, CopyingReplicated,
		"the class itself must be installed on each server"},
	{11, "DirXML-DriverFilter", syntaxBinary, single, CopyingReplicated, ""},
	{13, "DirXML-DriverStartOption", syntaxInteger, single | perServer | engineOwned, CopyingNever,
		"set by the procedure with operation 9"},
	{14, "DirXML-State", syntaxInteger, single | perServer | engineOwned, CopyingNever, "what the driver does there"},
	{15, "DirXML-ServerList", syntaxDN, 0, CopyingReplicated, "for a job the procedure adds the new server"},
	{16, "DirXML-Timestamp", syntaxTimestamp, single | perServer | engineOwned, CopyingNever,
		"position mark of that engine"},
	{24, "DirXML-DriverCacheLimit", syntaxInteger, single | perServer | engineOwned, CopyingNever,
		"no setter is published: compare and set it by hand"},
	{25, "DirXML-DriverTraceLevel", syntaxInteger, single, CopyingReplicated, ""},
	{26, "DirXML-XSLTraceLevel", syntaxInteger, single, CopyingReplicated, ""},
	{27, "DirXML-JavaDebugPort", syntaxInteger, single, CopyingReplicated, ""},
	{28, "DirXML-JavaTraceFile", syntaxString, single, CopyingReplicated, ""},
	{29, "DirXML-ApplicationSchema", syntaxBinary, single, CopyingReplicated,
		"read again from the application by operation 21"},
	{30, "DirXML-DriverStorage", syntaxBinary, single | perServer, CopyingOnRequest,
		"position of the shim in its application, such as a change log number; an old one makes it read again or miss"},
	{33, "DirXML-LastLogTime", syntaxTime, single | perServer, CopyingNever, "log of that server"},
	{34, "DirXML-StatusLog", syntaxList, perServer, CopyingNever, "log of that server"},
	{36, "DirXML-DriverId", syntaxString, single | perServer | engineOwned, CopyingNever,
		"written by the engine at start"},
	{37, "DirXML-DriverVersion", syntaxString, single | perServer | engineOwned, CopyingNever,
		"written by the engine at start"},
	{38, "DirXML-Command", syntaxOctets, perServer, CopyingNever, "internal to the engine"},
	{39, "DirXML-Response", syntaxOctets, perServer, CopyingNever, "internal to the engine"},
	{50, "DirXML-ServerGUID", syntaxOctets, single | perServer, CopyingNever, "internal to the engine"},
	{51, "DirXML-TraceLevel", syntaxInteger, single, CopyingReplicated, ""},
	{52, "DirXML-TraceFile", syntaxString, single, CopyingReplicated, "the path must exist on each server"},
	{53, "DirXML-TraceName", syntaxString, single, CopyingReplicated, ""},
	{54, "DirXML-ConfigValues", syntaxBinary, single | perServer, CopyingValue, "global configuration values"},
	{55, "DirXML-LogEvents", syntaxInteger, engineOwned, CopyingReplicated, "set by operations 63 and 65"},
	{56, "DirXML-ConfigManifest", syntaxBinary, single, CopyingReplicated, ""},
	{57, "DirXML-Timestamp2", syntaxTimestamp, single | perServer | engineOwned, CopyingNever,
		"position mark of that engine"},
	{58, "DirXML-EngineControlValues", syntaxBinary, single | perServer, CopyingValue, "engine control values"},
	{59, "DirXML-NamedPasswords", syntaxTagged, perServer | engineOwned | hidden, CopyingSecret,
		"hidden; set by operation 75"},
	{60, "DirXML-TraceSizeLimit", syntaxInteger, single, CopyingReplicated, ""},
	{61, "DirXML-EncryptionKeys", syntaxPath, engineOwned | hidden, CopyingReplicated,
		"key material of the engine, never readable"},
	{62, "DirXML-Policies", syntaxTypedName, 0, CopyingReplicated, ""},
	{63, "DirXML-Data", syntaxBinary, single, CopyingReplicated, ""},
	{64, "DirXML-ContentType", syntaxString, single, CopyingReplicated, ""},
	{65, "DirXML-ServerKeys", syntaxOctets, engineOwned | hidden, CopyingReplicated,
		"key material of the engine, never readable"},
	{80, "DirXML-ReciprocalAttrMap", syntaxBinary, single, CopyingReplicated, ""},
	{82, "DirXML-PersistentData", syntaxBinary, single, CopyingReplicated,
		"state written by policies; an import over an existing driver leaves it alone"},
	{84, "DirXML-uiXMLBigPerReplica", syntaxBinary, single | perServer, CopyingValue,
		"what the administration tools draw"},
	{86, "DirXML-uiXMLSmallPerReplica", syntaxOctets, single | perServer, CopyingValue,
		"what the administration tools draw"},
	{87, "DirXML-JavaEnvironmentParameters", syntaxList, perServer, CopyingOnRequest,
		"Java heap and options of that machine"},
	{97, "DirXML-CacheLocation", syntaxString, single | perServer | engineOwned | hidden, CopyingNever,
		"path on that machine, changed only while the driver is disabled"},
	{98, "DirXML-LogEventsType", syntaxInteger, single, CopyingReplicated, ""},
	{99, "DirXML-MutualAuthPassword", syntaxOctets, single | perServer, CopyingSecret,
		"set again in the administration tool where the Remote Loader uses mutual authentication"},
	{100, "DirXML-DriverDn", syntaxDN, single | perServer | engineOwned, CopyingNever, "internal to the engine"},
}

// Schema is what is known about the attributes of Identity Manager on one server.
type Schema struct {
	types map[string]AttributeType
	// Read tells whether the server's schema marks per-server attributes at all. When it is false everything comes from
	// the table.
	Read bool
	// Differences lists where the server's schema and the table disagree, one sentence each; the server's word counts.
	Differences []string
}

// TableSchema returns the table alone.
func TableSchema() Schema {
	s := Schema{types: map[string]AttributeType{}}
	for _, row := range attributeTable {
		s.types[strings.ToLower(row.name)] = AttributeType{Name: row.name, OID: fmt.Sprint(dirxmlAttributeOID, row.number),
			Syntax: row.syntax, SingleValue: row.traits&single != 0, PerServer: row.traits&perServer != 0,
			EngineOwned: row.traits&engineOwned != 0, Hidden: row.traits&hidden != 0, Copying: row.copying, Why: row.why}
	}
	return s
}

// Attribute returns what is known about the attribute, whose name is compared without case and options.
func (s Schema) Attribute(name string) (AttributeType, bool) {
	base, _, _ := strings.Cut(strings.ToLower(name), ";")
	t, ok := s.types[base]
	return t, ok
}

// Attributes returns everything known, by name.
func (s Schema) Attributes() []AttributeType {
	return slices.SortedFunc(maps.Values(s.types), func(a, b AttributeType) int { return byName(a.Name, b.Name) })
}

// PerServer returns the attributes of which each server has its own value, by name.
func (s Schema) PerServer() []AttributeType {
	return slices.DeleteFunc(s.Attributes(), func(t AttributeType) bool { return !t.PerServer })
}

// copied returns the attributes CopyServerData compares and writes.
func (s Schema) copied(onRequest []string) []AttributeType {
	return slices.DeleteFunc(s.PerServer(), func(t AttributeType) bool {
		wanted := t.Copying == CopyingValue || t.Copying == CopyingOnRequest && containsName(onRequest, t.Name)
		return !wanted || t.EngineOwned
	})
}

// Schema reads the schema of the server: which attributes are per server (X-NDS_NEVER_SYNC) and which belong to the
// engine (NO-USER-MODIFICATION). Where the server marks nothing per server, as a directory that is no eDirectory does,
// the table counts.
func (s *Server) Schema(ctx context.Context) (Schema, error) {
	schema := TableSchema()
	e, err := s.Read(ctx, cmp.Or(s.RootDSE().Schema, "cn=schema"), "attributeTypes")
	if err != nil {
		return schema, err
	}
	var read []AttributeType
	for _, definition := range e.Texts("attributeTypes") {
		read = append(read, parseAttributeType(definition))
	}
	if !slices.ContainsFunc(read, func(t AttributeType) bool { return t.PerServer }) {
		return schema, nil
	}
	schema.Read = true
	for _, t := range read {
		schema.merge(t)
	}
	slices.Sort(schema.Differences)
	return schema, nil
}

// merge lets the server's word count over the table.
func (s *Schema) merge(t AttributeType) {
	key := strings.ToLower(t.Name)
	known, ok := s.types[key]
	if !ok {
		if strings.HasPrefix(key, "dirxml-") {
			t.Read = true
			t.Copying = CopyingReplicated
			if t.PerServer {
				t.Copying, t.Why = CopyingNever, "unknown to this SDK: decide by hand"
				s.Differences = append(s.Differences, t.Name+" is per server and unknown to the table")
			}
			s.types[key] = t
		}
		return
	}
	if known.PerServer != t.PerServer {
		s.Differences = append(s.Differences,
			fmt.Sprintf("%s: per server is %t on the server, %t in the table", t.Name, t.PerServer, known.PerServer))
		if t.PerServer {
			known.Copying, known.Why = CopyingNever, "per server here against the table: decide by hand"
		} else {
			known.Copying = CopyingReplicated
		}
	}
	// An older schema lacks the flag on attributes the engine refuses to have written all the same.
	known.EngineOwned = known.EngineOwned || t.EngineOwned
	known.PerServer, known.SingleValue, known.Read = t.PerServer, t.SingleValue, true
	s.types[key] = known
}

// parseAttributeType reads one definition of RFC 4512 §4.1.2 as far as it matters here.
func parseAttributeType(definition string) AttributeType {
	var t AttributeType
	words := schemaWords(definition)
	for i, w := range words {
		next := func() string {
			rest := slices.DeleteFunc(slices.Clone(words[i+1:]), func(v string) bool { return v == "(" })
			return append(rest, "")[0]
		}
		switch strings.ToUpper(w) {
		case "NAME":
			t.Name = next()
		case "SYNTAX":
			t.Syntax, _, _ = strings.Cut(next(), "{")
		case "SINGLE-VALUE":
			t.SingleValue = true
		case "NO-USER-MODIFICATION":
			t.EngineOwned = true
		case "X-NDS_NEVER_SYNC":
			t.PerServer = next() == "1"
		case "X-NDS_HIDDEN":
			t.Hidden = next() == "1"
		}
		if i == 1 {
			t.OID = w
		}
	}
	return t
}

// schemaWord is a quoted text, a parenthesis or a word of a definition.
var schemaWord = regexp.MustCompile(`'([^']*)'?|[()]|[^ \t\r\n()']+`)

func schemaWords(definition string) []string {
	var words []string
	for _, found := range schemaWord.FindAllStringSubmatch(definition, -1) {
		if strings.HasPrefix(found[0], "'") {
			found = found[1:]
		}
		words = append(words, found[0])
	}
	return words
}
