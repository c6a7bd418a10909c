package opcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/01b61c5c/failover"
)

const (
	// largePage is asked for first: one long answer costs a server less than many that each search again. A server that
	// cannot give it in time, or refuses it, is asked for smallPage from then on.
	largePage = 5000
	smallPage = 300

	maxRounds = 3 // how often a list is read whose rows shift meanwhile

	maxPages = 4000      // of one list
	maxList  = 256 << 20 // bytes of one list
)

// list reads all pages of a collection. The server's own page limit is not public and some calls may ignore paging
// (inferred), so neither a short nor a long page is believed: reading stops when the count the server names is
// reached, or when a page brings nothing new. Rows that shift between two pages come twice and are dropped by id; rows
// that fall through the gap are found by overlapping the pages by one row and reading once more when the rows at the
// seam differ. A list that stays shorter than the server's own count is an error.
func (c *Client) list(ctx context.Context, op, path, sortBy string, query url.Values) ([]json.RawMessage, error) {
	var rows []json.RawMessage
	seen := map[string]bool{}
	for round := 1; ; round++ {
		total, shifted, err := c.listRound(ctx, op, path, sortBy, query, seen, &rows)
		if err != nil {
			return nil, err
		}
		missing := len(rows) < total
		if !missing && (!shifted || round == maxRounds) {
			return rows, nil
		}
		if round == maxRounds {
			return nil, c.fail(op, c.host, failover.NotApplied,
				"run again; if it stays so, report the server's version: its lists cannot be read as a whole",
				fmt.Errorf("the server counts %d rows and gives %d", total, len(rows)))
		}
	}
}

// readList reads an answer that has to be an array. Nothing at all and null are none.
func (c *Client) readList(op, target string, body []byte) ([]json.RawMessage, error) {
	var rows []json.RawMessage
	if err := json.Unmarshal(body, &rows); err != nil || rows == nil {
		return nil, c.fail(op, target, failover.NotApplied, "check that the address is the OpCon API",
			fmt.Errorf("the answer is not a list: %q", shorten(c.redact(string(body)), 120)))
	}
	return rows, nil
}

// page asks for one page.
func (c *Client) page(ctx context.Context, op, path string, q url.Values) (reply, error) {
	if !c.small.Load() {
		q.Set("limit", strconv.Itoa(largePage))
		rep, err := c.do(ctx, call{op: op, method: http.MethodGet, path: path, query: q, tries: 1})
		if err == nil || ctx.Err() != nil || !tooMuch(err) {
			return rep, err
		}
		c.small.Store(true)
	}
	q.Set("limit", strconv.Itoa(smallPage))
	return c.do(ctx, call{op: op, method: http.MethodGet, path: path, query: q})
}

// tooMuch reports whether a smaller page may succeed where this one failed.
func tooMuch(err error) bool {
	if api, ok := errors.AsType[*APIError](err); ok {
		return api.Status == http.StatusBadRequest || api.Status == http.StatusRequestEntityTooLarge ||
			api.Status >= http.StatusInternalServerError
	}
	return passing(err) && !errors.Is(err, ErrAuth)
}

// listRound reads the pages once. It returns how many rows the server counts, 0 where its count was reached or is not
// told, and whether rows shifted meanwhile.
func (c *Client) listRound(ctx context.Context, op, path, sortBy string, query url.Values, seen map[string]bool,
	rows *[]json.RawMessage) (int, bool, error) {
	shifted, offset, last, first, size := false, 0, "", "", 0
	here := map[string]bool{} // ids of this round
	for range maxPages {
		q := url.Values{}
		for k, v := range query {
			q[k] = v
		}
		q.Set("offset", strconv.Itoa(offset))
		q.Set("includeCount", "true")
		if sortBy != "" {
			q.Set("sortBy", sortBy)
		}
		rep, err := c.page(ctx, op, path, q)
		if err != nil {
			return 0, false, err
		}
		if size += len(rep.body); size > maxList {
			break
		}
		page, err := c.readList(op, c.host, rep.body)
		if err != nil {
			return 0, false, err
		}
		total, _ := strconv.Atoi(rep.header.Get("TotalResourceCount")) // 0: not told
		fresh := 0
		for i, row := range page {
			id := rowID(row)
			switch {
			case i > 0:
			case first == "":
				first = id
			case id == first && len(here) > 1: // the server ignores the offset: nothing else will come
				if len(page) >= total {
					total = 0
				}
				return total, false, nil
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
		switch {
		case total > 0 && len(here) >= total, fresh == 0 && offset+len(page) >= total:
			return 0, shifted, nil
		case fresh == 0:
			return total, shifted, nil
		}
		last = rowID(page[len(page)-1])
		offset += len(page) - 1
		if len(page) == 1 {
			offset++
			last = ""
		}
	}
	return 0, false, c.fail(op, c.host, failover.NotApplied, "narrow the request",
		fmt.Errorf("the list does not end within %d pages and %d bytes", maxPages, maxList))
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
