package opcon

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
)

// ServiceState is what the API says about itself.
type ServiceState struct {
	Version string // product version of the REST API
	Running bool   // the scheduling engine (SAM) is alive; without it actions stay submitted
	Time    string // server's time, RFC 3339, or "" when no answer told it
}

// Service reads version, login and engine state. Changes nothing. Errors: ErrAuth, ErrUnavailable.
func (c *Client) Service(ctx context.Context) (ServiceState, error) {
	const op = "look at"
	rep, err := c.do(ctx, call{op: op, method: http.MethodGet, path: "/api/version", open: true})
	if err != nil {
		return ServiceState{}, err
	}
	state := ServiceState{Version: readObject(rep.body).text("opConRestApiProductVersion")}
	if state.Version == "" {
		return state, c.fail(op, c.host, failover.NotApplied, "check that the address is the OpCon API",
			errors.New("the answer names no version"))
	}
	if _, err := c.do(ctx, call{op: op, method: http.MethodGet, path: "/api/tokens"}); err != nil {
		return state, err
	}
	rep, err = c.do(ctx, call{op: op, method: http.MethodGet, path: "/api/servicestatus"})
	if err != nil {
		return state, err
	}
	if state.Running, err = strconv.ParseBool(strings.ToLower(readObject(rep.body).text("running"))); err != nil {
		return state, c.fail(op, c.host, failover.NotApplied, "check in OpCon whether the scheduling engine (SAM) runs",
			errors.New("the answer does not tell whether the scheduling engine runs"))
	}
	if now, ok := c.serverNow(); ok {
		state.Time = now.Format(timeFormat)
	}
	return state, nil
}
