package opcon

import (
	"encoding/json"
	"testing"

	"github.com/01b61c5c/failover"
)

// TestWordsOfAnAction reads records of an action with two schedules; the wanted outcome is the second one's.
func TestWordsOfAnAction(t *testing.T) {
	items := []actionItem{{id: "a", name: "A"}, {id: "b", name: "B"}}
	const open = "open"
	for name, tc := range map[string]struct{ record, want string }{
		"both said": {`{"result":"failed","scheduleActionItems":[{"id":"a","result":"success"},{"id":"b","result":"failed"}]}`, "not-applied"},
		"error": {`{"result":"error","scheduleActionItems":[{"id":"b","result":"Error"}]}`,
			"not-applied"},
		"the whole failed, b unsaid": {`{"result":"failed","scheduleActionItems":[{"id":"a","result":"failed"}]}`,
			open},
		"the whole failed, no items": {`{"result":"failed"}`, open},
		"the whole success, b unsaid": {`{"result":"success","scheduleActionItems":[{"id":"a","result":"success"}]}`,
			"applied"},
		"submitted": {`{"result":"submitted","scheduleActionItems":[{"id":"b","result":"submitted"}]}`, open},
		"item left behind": {`{"result":"success","scheduleActionItems":[{"id":"b","result":"submitted"}]}`,
			open},
		"nothing said": {`{"scheduleActionItems":[{"id":"b"}]}`, open},
		"another word": {`{"result":"InProgress","scheduleActionItems":[{"id":"b","result":"InProgress"}]}`, open},
		"null":         {`{"result":null,"scheduleActionItems":null}`, open},
	} {
		t.Run(name, func(t *testing.T) {
			results := map[string]error{}
			(&Client{}).readResults(scheduleActions, "hold schedule", verbHold, readObject(json.RawMessage(tc.record)),
				items, results)
			got := open
			if err, ok := results["b"]; ok {
				got = failover.OutcomeOf(err).String()
			}
			if got != tc.want {
				t.Fatalf("b is %s, want %s", got, tc.want)
			}
		})
	}
}
