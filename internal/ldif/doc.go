// Package ldif reads and writes LDIF (RFC 2849) record by record.
//
// Memory is bounded by the largest record the limits allow, never by the file. Every refusal names the file, the
// physical line, the field and the reason, also when the bad character stands deep inside a folded base64 value.
//
// The LDIF module of the go-ldap family (github.com/go-ldap/ldif) serves as the independent reader in this
// package's tests. It does not serve here because it
//   - opens file: URLs of the input on this machine, so that a file from elsewhere reads local files;
//   - puts attributes into a map, so that their order is lost and an export is never twice the same;
//   - names the last line of a record and not the line of the mistake;
//   - has no limits, and joins folded lines in time that grows with the square of the value;
//   - refuses empty values, ignores control values, and carries the changetype of one record over to the next;
//   - writes values that begin with a space, a colon or "<" in clear, which a reader takes for something else.
package ldif
