package opcon

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// Service asks whether the API answers, the login works and the scheduling engine (SAM) runs, and returns the product
// version of the API. Changes nothing. Errors: ErrAuth; ErrUnavailable, also when the engine does not run, since no
// action would be carried out.
func (c *Client) Service(ctx context.Context) (string, error) {
	const op = "look at"
	rep, err := c.do(ctx, call{op: op, path: "/api/version", open: true})
	if err != nil {
		return "", err
	}
	version := readObject(rep.body).text("opConRestApiProductVersion")
	if version == "" {
		return "", unchanged(op, c.host, "check that the address is the OpCon API", errors.New("the answer names no version"))
	}
	if _, err := c.do(ctx, call{op: op, path: "/api/tokens"}); err != nil {
		return version, err
	}
	if rep, err = c.do(ctx, call{op: op, path: "/api/servicestatus"}); err != nil {
		return version, err
	}
	running, err := strconv.ParseBool(strings.ToLower(readObject(rep.body).text("running")))
	switch {
	case err != nil:
		err = errors.New("the answer does not tell whether the scheduling engine (SAM) runs")
	case !running:
		err = because(ErrUnavailable, "version "+version+
			", the scheduling engine (SAM) does not run: no action would be carried out")
	default:
		return version, nil
	}
	return version, unchanged(op, c.host, "see that the scheduling engine (SAM) runs, then run again", err)
}
