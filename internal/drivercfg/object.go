package drivercfg

import "github.com/01b61c5c/failover/internal/ldif"

// Header is what the root element says about the driver.
type Header struct {
	DN          string // of the driver, in the tree the file comes from
	DriverSetDN string
	Name        string
	PackageID   string
}

// Attribute is a directory attribute with its values.
type Attribute = ldif.Attribute

// QueryKind says what an importer has to ask for.
type QueryKind int

const (
	// QueryApplicationPassword asks for the password with which the shim logs in to the application.
	QueryApplicationPassword QueryKind = iota
	// QueryDriverPassword asks for the driver object's own password.
	QueryDriverPassword
	// QueryNamedPassword asks for a named password.
	QueryNamedPassword
	// QueryJobServers asks which servers run a job.
	QueryJobServers
	// QueryJobScope asks which objects a job works on.
	QueryJobScope
	// QueryJobEmailServer asks for the mail server of a job.
	QueryJobEmailServer
	// QueryOther is a placeholder this package does not know by name.
	QueryOther
)

// Query is one placeholder, or a password that somebody wrote into the file in its place.
type Query struct {
	Kind        QueryKind
	Line        int
	Element     string
	Name        string // of a named password
	DisplayName string
	InClear     bool // the file carries the password itself, which is not taken over
}

// Skipped is an element that was not taken over, and why.
type Skipped struct {
	Line    int
	Element string
	Reason  string
}

// Object is one directory object of a driver, relative to the driver. An object without Class is none: it only
// carries what was skipped at that place.
type Object struct {
	Line       int
	Path       []string // names below the driver, outermost first; empty for the driver itself
	Class      string
	Attributes []Attribute
	Queries    []Query
	Skipped    []Skipped
}

// Get returns the attribute of that exact name, or nil.
func (o *Object) Get(name string) *Attribute {
	return first(o.Attributes, func(a *Attribute) bool { return a.Name == name })
}

// first returns the first of the list that is meant, or nil.
func first[T any](list []T, is func(*T) bool) *T {
	for i := range list {
		if is(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

// form is how an element of <attributes> carries its value.
type form int

const (
	asXML      form = iota // the value is the XML inside
	asValue                // the value is in the attribute "value"
	asBase64               // the text inside is base64
	asLinkage              // a list of linkage-item elements
	asQuery                // a placeholder
	asPassword             // a password in clear, in the place of its placeholder
	asNothing              // the engine's own, not carried over
	asStamps               // what Designer notes of packages, not carried over
)

// element is one row of what stands inside <attributes>, in the order in which exports of the vendor's tools have it.
type element struct {
	name      string
	attribute string
	form      form
	query     QueryKind
	inherits  bool // where it is not set, exports say inherit="true"
}

var attributeElements = []element{
	{name: "configuration-manifest", attribute: "DirXML-ConfigManifest", form: asXML},
	{name: "driver-filter-xml", attribute: "DirXML-DriverFilter", form: asXML},
	{name: "reciprocal-links", attribute: "DirXML-ReciprocalAttrMap", form: asXML},
	{name: "driver-image", attribute: "DirXML-DriverImage", form: asBase64},
	// DirXML-LogEvents is set by an extended operation only.
	{name: "log-events", form: asNothing, inherits: true},
	{name: "trace-file", attribute: "DirXML-TraceFile", form: asValue, inherits: true},
	{name: "trace-size-limit", attribute: "DirXML-TraceSizeLimit", form: asValue, inherits: true},
	{name: "trace-level", attribute: "DirXML-TraceLevel", form: asValue, inherits: true},
	{name: "driver-trace-level", attribute: "DirXML-DriverTraceLevel", form: asValue, inherits: true},
	{name: "log-limit", attribute: "DirXML-LogLimit", form: asValue, inherits: true},
	{name: "log-events-type", attribute: "DirXML-LogEventsType", form: asValue, inherits: true},
	{name: "java-module", attribute: "DirXML-JavaModule", form: asValue},
	{name: "native-module", attribute: "DirXML-NativeModule", form: asValue},
	{name: "trace-name", attribute: "DirXML-TraceName", form: asValue},
	{name: "policy-linkage", attribute: "DirXML-Policies", form: asLinkage},
	{name: "driver-cache-limit", attribute: "DirXML-DriverCacheLimit", form: asValue},
	{name: "shim-auth-id", attribute: "DirXML-ShimAuthID", form: asValue},
	{name: "shim-auth-password-query", form: asQuery, query: QueryApplicationPassword},
	{name: "shim-auth-password", form: asPassword, query: QueryApplicationPassword},
	{name: "shim-auth-server", attribute: "DirXML-ShimAuthServer", form: asValue},
	{name: "driver-password-query", form: asQuery, query: QueryDriverPassword},
	{name: "driver-password", form: asPassword, query: QueryDriverPassword},
	{name: startOption, attribute: "DirXML-DriverStartOption", form: asValue},
	{name: "shim-config-info-xml", attribute: "DirXML-ShimConfigInfo", form: asXML},
	{name: "global-engine-values", attribute: "DirXML-EngineControlValues", form: asXML},
	{name: "global-config-values", attribute: "DirXML-ConfigValues", form: asXML},
	{name: "named-password-query", form: asQuery, query: QueryNamedPassword},
	{name: "named-password", form: asPassword, query: QueryNamedPassword},
	{name: "application-schema", attribute: "DirXML-ApplicationSchema", form: asXML},
	{name: "pkg-initial-states", form: asStamps},
}

const startOption = "driver-start-option"

func elementNamed(name string) *element {
	return first(attributeElements, func(e *element) bool { return e.name == name })
}

func elementFor(attribute string) *element {
	return first(attributeElements, func(e *element) bool { return e.attribute == attribute })
}

var jobQueries = map[string]QueryKind{"job-servers-query": QueryJobServers, "job-scope-query": QueryJobScope,
	"job-email-server-query": QueryJobEmailServer}

// container is an element of <children> that holds one XML value.
type container struct {
	name, class, attribute string
	old                    string // its name in files that earlier versions of this library wrote
	wrappers               []string
}

var containers = []container{
	{name: "rule", class: "DirXML-Rule", attribute: "XmlData"},
	{name: "stylesheet", class: "DirXML-StyleSheet", attribute: "XmlData", old: "style-sheet"},
	// The directory holds the configuration-values alone.
	{name: "global-config-def", class: "DirXML-GlobalConfigDef", attribute: "DirXML-ConfigValues",
		wrappers: []string{"attributes", "global-config-values"}},
	{name: "entitlement-definition", class: "DirXML-Entitlement", attribute: "XmlData"},
}

func containerNamed(name string) *container {
	return first(containers, func(c *container) bool { return c.name == name || c.old != "" && c.old == name })
}

// stamps are the attributes by which an object of a package carries its mark.
var stamps = []string{"checksum", "package-id", "pkg-assoc-id"}

const stampsLost = "package stamps are not taken over: Designer shows the content as customized"

// policySets names the numbers of linkage-item/@policy-set in the words of the vendor's tools, which programs read.
var policySets = [...]string{0: "Schema Mapping", 1: "Input", 2: "Output", 3: "ECMAScript",
	4: "Subscriber Event", 5: "Publisher Event", 6: "Subscriber Matching", 7: "Publisher Matching",
	8: "Subscriber Create", 9: "Publisher Create", 10: "Subscriber Command", 11: "Publisher Command",
	12: "Subscriber Placement", 13: "Publisher Placement", 14: "Global Configs", 15: "Startup"}
