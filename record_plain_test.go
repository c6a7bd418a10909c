package failover

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What plain reads, encoding/json reads too, strictly, and as the same; what plain leaves alone is up to encoding/json.
func FuzzPlainRecord(f *testing.F) {
	for _, line := range plainRecords {
		f.Add([]byte(line))
	}
	for _, line := range otherRecords {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got, want record
		if !got.plain(string(raw)) {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&want))
		assert.Equal(t, int64(len(raw)), dec.InputOffset())
		assert.Equal(t, want, got)
	})
}

const plainHead = `{"n":12,"prev":"7f","at":"2026-03-01T02:00:00.1Z"`

var plainRecords = []string{
	plainHead + `,"type":"observed","step":"a/b","status":"waiting","error":"no answer","next":"ask"}`,
	plainHead + `,"type":"outcome","step":"a/b","outcome":"applied","proof":"observed","found":"up","note":"n"}`,
	plainHead + `,"type":"confirm","step":"a","actor":"kim","from":"tty","reason":"done"}`,
	plainHead + `,"type":"end","result":"completed"}`,
	plainHead + `,"type":"procedure","procedure":{"name":"p","hash":"h","parameters":[{"name":"a","value":""},` +
		`{"name":"b","value":"1"}],"steps":[{"id":"a/b","part":"a","title":"A","target":"t","kind":"change",` +
		`"can_undo":true,"firm":true,"outage":true,"timeout":"1m0s","source":"s","help":"h"},` +
		`{"id":"b","title":"B","kind":"check","can_undo":false}],"program":"p","library":"l"}}`,
}

var otherRecords = []string{
	plainHead + `,"type":"run","holder":{"token":"T"},"epoch":1}`,
	plainHead + `,"type":"end","reason":"\u003c"}`,
	plainHead + `,"type":"end","reason":"é"}`,
	plainHead + `,"type":"end","type":"run"}`,
	plainHead + `,"step":"a","type":"intent"}`,
	plainHead + `,"type":"beginning"}`,
	plainHead + `,"Type":"end"}`,
	plainHead + `,"type":"end","colour":"red"}`,
	plainHead + `,"type":"end"}}`,
	plainHead + `,"type":"end"`,
	plainHead + `,"type":"end",}`,
	plainHead + `, "type":"end"}`,
	plainHead + `,"type":7}`,
	plainHead + `,"procedure":{}}`,
	plainHead + `,"procedure":}}`,
	plainHead + `,"procedure":null}`,
	plainHead + `,"procedure":{"name":"p","steps":null}}`,
	plainHead + `,"procedure":{"name":"p","steps":[]}}`,
	plainHead + `,"procedure":{"name":"p","steps":[}]}}`,
	plainHead + `,"procedure":{"name":"p","steps":[{}]}}`,
	plainHead + `,"procedure":{"name":"p","steps":[{"id":"a"},]}}`,
	plainHead + `,"procedure":{"name":"p","steps":[{"id":"a","firm":1}]}}`,
	plainHead + `,"procedure":{"name":"p","steps":[{"id":"a"}}}`,
	strings.Replace(plainHead, "12", "012", 1) + `}`,
	strings.Replace(plainHead, "12", "-12", 1) + `}`,
	strings.Replace(plainHead, "12", "1e1", 1) + `}`,
	strings.Replace(plainHead, "12", `"12"`, 1) + `}`,
	strings.Replace(plainHead, "T02:", " 02:", 1) + `}`,
	``, `{`, `}`, `{}`, `{}x`,
}

func TestMostRecordsAreReadTheShortWay(t *testing.T) {
	for _, raw := range plainRecords {
		var rec record
		require.True(t, rec.plain(raw), raw)
		back, err := json.Marshal(rec)
		require.NoError(t, err)
		assert.Equal(t, raw, string(back))
	}
	for _, raw := range otherRecords {
		assert.False(t, new(record).plain(raw), raw)
	}
}
