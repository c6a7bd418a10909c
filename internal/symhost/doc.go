// Package symhost puts real SSH servers in front of the folders of symitartest's hosts, for tests.
package symhost
