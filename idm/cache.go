package idm

import (
	"context"
	"fmt"
)

const (
	// cachePage is how many cached events are asked for at once: a huge count was seen to exhaust the server's memory.
	cachePage = 200
	// cachePageLimit bounds what one page may weigh here.
	cachePageLimit = 256 << 20
)

// ViewCache calls page with the events waiting for a driver on this server, oldest first, a few hundred at a time, each
// time as one document of XML (operations 41, 33 and 35). It changes nothing. Sources disagree on whether a running
// driver can be viewed, and right after a stop the view may fail once: a refusal ([ErrWrongState] as a rule) means "not
// readable now"; [Server.Stats] gives the figures then.
func (s *Server) ViewCache(ctx context.Context, driverDN string, page func([]byte) error) error {
	for position := int64(0); ; {
		c, err := s.askChunked(ctx, opViewCache, driverDN, integer(resultMinutes), integer(position), integer(cachePage),
			integer(0))
		if err != nil {
			return err
		}
		doc, err := s.fetch(ctx, driverDN, c, cachePageLimit)
		if err != nil || len(doc) == 0 {
			return err
		}
		if err := page(doc); err != nil {
			return notDone("keep cache of", driverDN, "make room and repeat", err)
		}
		if len(c.rest) == 0 {
			return unknownLayout(opViewCache, driverDN, fmt.Appendf(nil, "no next position behind handle %d", c.handle))
		}
		if c.rest[0] <= position {
			return nil
		}
		position = c.rest[0]
	}
}
