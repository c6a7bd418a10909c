// Package symitar moves the primary role between the two hosts of a Symitar Episys installation with the FAILOVER macro.
package symitar
