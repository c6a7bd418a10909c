// Package failover moves a running service from one machine to another and tells the truth about it.
package failover
