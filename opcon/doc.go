// Package opcon holds an OpCon machine still while the service behind it moves, and sets it going again afterwards.
//
// (The procedure reference follows when the steps stand.)
package opcon
