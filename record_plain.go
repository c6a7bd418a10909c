package failover

import (
	"strconv"
	"strings"

	"github.com/01b61c5c/failover/internal/enum"
)

// plain reads a record as most are written: whole numbers, strings in which nothing is escaped, and the definition of
// the procedure. That takes an eighth of the time that encoding/json takes. Of whatever else there is it reports false;
// the record may then be half filled.
func (rec *record) plain(raw string) bool {
	rest, ok := plainObject(rec, raw, plainRecord)
	return ok && rest == ""
}

// plainField reads the value of one field from the front of what is left of the object.
type plainField[T any] struct {
	name string
	read func(into *T, raw string) (rest string, ok bool)
}

// Each table has the order in which the fields are written.
var (
	plainRecord = []plainField[record]{
		{"n", plainNumber},
		{"prev", plainText(func(rec *record) *string { return &rec.Prev })},
		{"at", plainTime},
		{"type", plainWord(recordNames, func(rec *record) *recordType { return &rec.Type })},
		{"step", plainText(func(rec *record) *string { return &rec.Step })},
		{"status", plainWord(statusNames, func(rec *record) *StepStatus { return &rec.Status })},
		{"outcome", plainWord(outcomeNames, func(rec *record) *Outcome {
			rec.Outcome = new(Outcome)
			return rec.Outcome
		})},
		{"proof", plainWord(proofNames, func(rec *record) *proof { return &rec.Proof })},
		{"found", plainText(func(rec *record) *string { return &rec.Found })},
		{"would", plainText(func(rec *record) *string { return &rec.Would })},
		{"note", plainText(func(rec *record) *string { return &rec.Note })},
		{"error", plainText(func(rec *record) *string { return &rec.Error })},
		{"next", plainText(func(rec *record) *string { return &rec.Next })},
		{"actor", plainText(func(rec *record) *string { return &rec.Actor })},
		{"from", plainText(func(rec *record) *string { return &rec.From })},
		{"reason", plainText(func(rec *record) *string { return &rec.Reason })},
		{"result", plainWord(resultNames, func(rec *record) *Result { return &rec.Result })},
		{"procedure", func(rec *record, raw string) (string, bool) {
			rec.Def = new(definition)
			return plainObject(rec.Def, raw, plainDefinition)
		}},
	}
	plainDefinition = []plainField[definition]{
		{"name", plainText(func(def *definition) *string { return &def.Name })},
		{"hash", plainText(func(def *definition) *string { return &def.Hash })},
		{"parameters", plainList(plainParameter, func(def *definition) *[]Parameter { return &def.Parameters })},
		{"steps", plainList(plainStep, func(def *definition) *[]StepInfo { return &def.Steps })},
		{"program", plainText(func(def *definition) *string { return &def.Program })},
		{"library", plainText(func(def *definition) *string { return &def.Library })},
	}
	plainParameter = []plainField[Parameter]{
		{"name", plainText(func(p *Parameter) *string { return &p.Name })},
		{"value", plainText(func(p *Parameter) *string { return &p.Value })},
	}
	plainStep = []plainField[StepInfo]{
		{"id", plainText(func(s *StepInfo) *string { return &s.ID })},
		{"part", plainText(func(s *StepInfo) *string { return &s.Part })},
		{"title", plainText(func(s *StepInfo) *string { return &s.Title })},
		{"target", plainText(func(s *StepInfo) *string { return &s.Target })},
		{"kind", plainWord(kindNames, func(s *StepInfo) *Kind { return &s.Kind })},
		{"can_undo", plainFlag(func(s *StepInfo) *bool { return &s.CanUndo })},
		{"firm", plainFlag(func(s *StepInfo) *bool { return &s.Firm })},
		{"outage", plainFlag(func(s *StepInfo) *bool { return &s.Outage })},
		{"timeout", plainText(func(s *StepInfo) *string { return &s.Timeout })},
		{"source", plainText(func(s *StepInfo) *string { return &s.Source })},
		{"help", plainText(func(s *StepInfo) *string { return &s.Help })},
	}
)

func plainObject[T any](into *T, raw string, fields []plainField[T]) (rest string, ok bool) {
	if !strings.HasPrefix(raw, "{") {
		return "", false
	}
	for sep := byte('{'); raw != "" && raw[0] == sep; sep = ',' {
		name, rest, ok := plainString(raw[1:])
		for len(fields) > 0 && fields[0].name != name {
			fields = fields[1:]
		}
		if !ok || len(fields) == 0 || rest == "" || rest[0] != ':' {
			return "", false
		}
		if raw, ok = fields[0].read(into, rest[1:]); !ok {
			return "", false
		}
		fields = fields[1:]
	}
	return strings.CutPrefix(raw, "}")
}

func plainList[T, E any](fields []plainField[E], field func(*T) *[]E) func(*T, string) (string, bool) {
	return func(into *T, raw string) (string, bool) {
		list := field(into)
		*list = make([]E, 0, 1+max(strings.IndexByte(raw, ']'), 0)/128) // an element takes 100 to 200 bytes usually
		for sep := byte('['); raw != "" && raw[0] == sep; sep = ',' {
			var element E
			var ok bool
			if raw, ok = plainObject(&element, raw[1:], fields); !ok {
				return "", false
			}
			*list = append(*list, element)
		}
		return strings.CutPrefix(raw, "]")
	}
}

func plainText[T any](field func(*T) *string) func(*T, string) (string, bool) {
	return func(into *T, raw string) (rest string, ok bool) {
		*field(into), rest, ok = plainString(raw)
		return rest, ok
	}
}

func plainWord[T any, E ~int](names []string, field func(*T) *E) func(*T, string) (string, bool) {
	return func(into *T, raw string) (string, bool) {
		word, rest, ok := plainString(raw)
		return rest, ok && enum.Parse(names, word, field(into)) == nil
	}
}

func plainFlag[T any](field func(*T) *bool) func(*T, string) (string, bool) {
	return func(into *T, raw string) (rest string, ok bool) {
		if rest, ok = strings.CutPrefix(raw, "true"); ok {
			*field(into) = true
			return rest, true
		}
		return strings.CutPrefix(raw, "false")
	}
}

func plainTime(rec *record, raw string) (string, bool) {
	text, rest, ok := plainString(raw)
	return rest, ok && rec.At.UnmarshalText([]byte(text)) == nil
}

// plainNumber takes a whole number: no sign, no zero in front, at most nine digits.
func plainNumber(rec *record, raw string) (rest string, ok bool) {
	end := 0
	for end < len(raw) && '0' <= raw[end] && raw[end] <= '9' {
		end++
	}
	if end == 0 || end > 9 || raw[0] == '0' {
		return "", false
	}
	n, err := strconv.Atoi(raw[:end])
	rec.N = n
	return raw[end:], err == nil
}

// plainString takes a string of printable ASCII without escapes.
func plainString(raw string) (s, rest string, ok bool) {
	if raw == "" || raw[0] != '"' {
		return "", "", false
	}
	for end := 1; end < len(raw); end++ {
		switch c := raw[end]; {
		case c == '"':
			return raw[1:end], raw[end+1:], true
		case c < ' ' || c > '~' || c == '\\':
			return "", "", false
		}
	}
	return "", "", false
}
