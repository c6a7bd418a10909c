// Package eft upgrades EFT Server on the nodes of a failover cluster.
package eft
