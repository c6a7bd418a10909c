package opcon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/01b61c5c/failover"
)

const (
	pageSize = 300
	maxPages = 1000
)

// list reads all pages of a collection. The server's own page limit is not public and some calls may ignore paging
// (inferred), so neither a short nor a long page is believed: reading stops when the count the server names is
// reached, or when a page brings nothing new. Rows that shift between two pages come twice and are dropped by id; rows
// that fall through the gap are found by overlapping the pages by one row and reading once more when the rows at the
// seam differ.
func (c *Client) list(ctx context.Context, op, path, sortBy string, query url.Values) ([]json.RawMessage, error) {
	var rows []json.RawMessage
	seen := map[string]bool{}
	for round := 0; round < 3; round++ {
		shifted, err := c.listRound(ctx, op, path, sortBy, query, seen, &rows)
		if err != nil {
			return nil, err
		}
		if !shifted {
			break
		}
	}
	return rows, nil
}

func (c *Client) listRound(ctx context.Context, op, path, sortBy string, query url.Values, seen map[string]bool, rows *[]json.RawMessage) (bool, error) {
	shifted, offset, last, first := false, 0, "", ""
	here := map[string]bool{} // ids of this round
	for range maxPages {
		q := url.Values{}
		for k, v := range query {
			q[k] = v
		}
		q.Set("offset", strconv.Itoa(offset))
		q.Set("limit", strconv.Itoa(pageSize))
		q.Set("includeCount", "true")
		if sortBy != "" {
			q.Set("sortBy", sortBy)
		}
		rep, err := c.do(ctx, call{op: op, method: http.MethodGet, path: path, query: q})
		if err != nil {
			return false, err
		}
		var page []json.RawMessage
		if len(rep.body) > 0 {
			if err := json.Unmarshal(rep.body, &page); err != nil {
				return false, c.fail(op, c.host, failover.NotApplied, "check that the address is the OpCon API",
					errors.New("the answer is not a list: "+shorten(c.redact(string(rep.body)), 120)))
			}
		}
		fresh := 0
		for i, row := range page {
			id := rowID(row)
			switch {
			case i > 0:
			case first == "":
				first = id
			case id == first && len(here) > 1:
				return false, nil // the server ignores the offset: everything has been seen
			case last != "" && id != last:
				shifted = true
			}
			if !here[id] {
				here[id] = true
				fresh++
			}
			if !seen[id] {
				seen[id] = true
				*rows = append(*rows, row)
			}
		}
		total, err := strconv.Atoi(rep.header.Get("TotalResourceCount"))
		if fresh == 0 || (err == nil && len(here) >= total) {
			return shifted, nil
		}
		last = rowID(page[len(page)-1])
		offset += len(page) - 1
		if len(page) == 1 {
			offset++
			last = ""
		}
	}
	return false, c.fail(op, c.host, failover.NotApplied, "narrow the request", errors.New("the list does not end"))
}

// rowID is what makes a row the same row: its id, or its whole text where it has none.
func rowID(row json.RawMessage) string {
	if o := readObject(row); o != nil {
		if id := o.text("id"); id != "" {
			return id
		}
	}
	return string(row)
}
