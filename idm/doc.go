// Package idm moves Identity Manager drivers between eDirectory servers over LDAP.
package idm
