package opcon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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
		last := round == maxRounds
		if len(rows) >= total && (!shifted || last) {
			return rows, nil
		}
		if last {
			return nil, unchanged(op, c.host,
				"run again; if it stays so, report the server's version: its lists cannot be read as a whole",
				fmt.Errorf("the server counts %d rows and gives %d", total, len(rows)))
		}
	}
}

// readList reads an answer that has to be an array. Nothing at all and null are none.
func (c *Client) readList(op, target string, body []byte) ([]json.RawMessage, error) {
	var rows []json.RawMessage
	if err := json.Unmarshal(body, &rows); err != nil || rows == nil {
		return nil, unchanged(op, target, "check that the address is the OpCon API",
			fmt.Errorf("the answer is not a list: %q", shorten(c.redact(string(body)), 120)))
	}
	return rows, nil
}

// collection is the daily records of one kind.
type collection[T any] struct {
	op, path string
	read     func(json.RawMessage) (T, error)
}

var (
	dailySchedules = collection[Schedule]{"read daily schedules of", "/api/dailyschedules", readSchedule}
	dailyJobs      = collection[Job]{"read daily jobs of", "/api/dailyjobs", readJob}
)

// datesPerCall is how many dates go into one call.
const datesPerCall = 31

// rowsBy reads the records that the server gives for the values of one parameter, together with other parameters;
// whoever asks checks that they fit.
func rowsBy[K ~string, T any](ctx context.Context, c *Client, of collection[T], param string, values []K,
	also url.Values) ([]T, error) {
	size := batchSize
	if param == "dates" {
		size = datesPerCall
	}
	var all []T
	for chunk := range slices.Chunk(values, size) {
		query := url.Values{param: {joinIDs(chunk)}}
		maps.Copy(query, also)
		rows, err := c.list(ctx, of.op, of.path, "path", query)
		if err != nil {
			return nil, err
		}
		for _, raw := range rows {
			row, err := of.read(raw)
			if err != nil {
				return nil, unreadable(of.op, c.host, err)
			}
			all = append(all, row)
		}
	}
	return all, nil
}

func joinIDs[T ~string](ids []T) string {
	return strings.Join(convert(ids, func(id T) string { return string(id) }), ",")
}

// convert returns what of makes of each element.
func convert[T, U any](list []T, of func(T) U) []U {
	made := make([]U, len(list))
	for i, x := range list {
		made[i] = of(x)
	}
	return made
}

// page asks for one page.
func (c *Client) page(ctx context.Context, op, path string, q url.Values) (reply, error) {
	if !c.small.Load() {
		q.Set("limit", strconv.Itoa(largePage))
		rep, err := c.do(ctx, call{op: op, path: path, query: q, tries: 1})
		if err == nil || ctx.Err() != nil || !tooMuch(err) {
			return rep, err
		}
		c.small.Store(true)
	}
	q.Set("limit", strconv.Itoa(smallPage))
	return c.do(ctx, call{op: op, path: path, query: q})
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
		q := maps.Clone(query)
		q.Set("offset", strconv.Itoa(offset))
		q.Set("includeCount", "true")
		q.Set("sortBy", sortBy)
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
		before := len(here)
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
			here[id] = true
			if !seen[id] {
				seen[id] = true
				*rows = append(*rows, row)
			}
		}
		switch nothingNew := len(here) == before; {
		case total > 0 && len(here) >= total, nothingNew && offset+len(page) >= total:
			return 0, shifted, nil
		case nothingNew:
			return total, shifted, nil
		}
		offset, last = offset+max(1, len(page)-1), ""
		if len(page) > 1 {
			last = rowID(page[len(page)-1])
		}
	}
	return 0, false, unchanged(op, c.host, "narrow the request",
		fmt.Errorf("the list does not end within %d pages and %d bytes", maxPages, maxList))
}

// rowID is what makes a row the same row: its id, or its whole text where it has none.
func rowID(row json.RawMessage) string {
	return cmp.Or(readObject(row).text("id"), string(row))
}
