// Package loopback gives simulated servers their ports on 127.0.0.1 and keeps a port free for a server that is down:
// otherwise another simulator on the machine could be given it, and the dead server would seem to answer.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// Listen takes a port below the range from which the system gives ports to outgoing connections: a server that was
// killed wants the same one again, and another process's connection must not sit on it by then.
func Listen() (net.Listener, error) { return ListenOn("127.0.0.1") }

// ListenOn is Listen for another address of this machine.
func ListenOn(host string) (net.Listener, error) {
	const from, to = 10000, 32000
	for range 50 {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(from+rand.IntN(to-from)))); err == nil {
			return l, nil
		}
	}
	return Again(net.JoinHostPort(host, "0"))
}

// Again listens at an address that was used before. It retries for a second: the port of a server that was just killed
// can still be in the hands of the system.
func Again(address string) (net.Listener, error) {
	var err error
	for range 40 {
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			return l, nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	return nil, fmt.Errorf("loopback: %w", err)
}
