// Package faultnet breaks network connections on purpose: after a given byte, in a given direction, cleanly or not.
//
// A [Net] holds the faults. Its Wrap puts them around a net.Conn; [NewProxy] puts them between a client and a real
// server. Directions are seen from the client: Out goes to the server, In comes from it.
package faultnet
