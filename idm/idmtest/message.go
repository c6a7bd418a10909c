package idmtest

// message is one decoded LDAPMessage.
type message struct {
	id       int64
	op       any // bindRequest, searchRequest, …
	controls []control
}

type control struct {
	oid      string
	critical bool
	value    []byte // nil: absent
}

type bindRequest struct {
	version  int64
	dn       string
	simple   bool
	password []byte
	sasl     string
}

type unbindRequest struct{}

type abandonRequest struct{ id int64 }

type searchRequest struct {
	base      string
	scope     int64
	deref     int64
	sizeLimit int64
	timeLimit int64
	typesOnly bool
	filter    *filter
	attrs     []string
}

type attribute struct {
	name   string
	values [][]byte
}

type change struct {
	kind int64 // 0 add, 1 delete, 2 replace, 3 increment
	attribute
}

type modifyRequest struct {
	dn      string
	changes []change
}

type addRequest struct {
	dn    string
	attrs []attribute
}

type deleteRequest struct{ dn string }

type modifyDNRequest struct {
	dn          string
	newRDN      string
	deleteOld   bool
	newSuperior *string
}

type compareRequest struct {
	dn, attr string
	value    []byte
}

type extendedRequest struct {
	oid   string
	value []byte // nil: absent
}
