package pipeline

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// Stages are read with settings of any shape, survive the job's record, and
// their references are resolved where they are used.
func TestStages(t *testing.T) {
	const text = `pipeline: a
params: {column: email}
source:
  custom: {kind: tape, settings: {path: "${env:TAPE}", big: 12345678901234567890}}
stages:
  - trim
  - mask: {columns: ["${column}", {deep: "$${x} ${env:KEY}"}], big: 12345678901234567890, ratio: 0.5, on: true}
  - upper:
load: {table: t}
`
	d, err := Parse(text, "p.yaml", "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if kinds := d.Pipeline.Source.Kinds(); len(kinds) != 1 || kinds[0] != "custom" {
		t.Errorf("the kinds are %v", kinds)
	}
	frozen := mustJSON(t, d.Pipeline)
	for _, want := range []string{
		`"stages":["trim",{"mask":{"big":12345678901234567890,"columns":["email",{"deep":"$${x} ${env:KEY}"}],"on":true,"ratio":0.5}},"upper"]`,
		`"custom":{"kind":"tape","settings":{"big":12345678901234567890,"path":"${env:TAPE}"}}`,
	} {
		if !strings.Contains(string(frozen), want) {
			t.Errorf("the record is %s, without %s", frozen, want)
		}
	}
	again, err := d.Pipeline.Text()
	if err != nil {
		t.Fatal(err)
	}
	if d, err = Parse(again, "p.yaml", "/x", nil); err != nil || string(mustJSON(t, d.Pipeline)) != string(frozen) {
		t.Errorf("its text reads as %v: %v", d, err)
	}
	t.Setenv("KEY", "top secret")
	t.Setenv("TAPE", "/dev/tape")
	p, err := Thaw(frozen, time.Now(), access{env: os.LookupEnv})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(mustJSON(t, p.Stages[1])); got != `{"mask":{"big":12345678901234567890,"columns":["email",{"deep":"${x} top secret"}],"on":true,"ratio":0.5}}` {
		t.Errorf("the stage is %s", got)
	}
	if p.Source.Custom.Settings["path"] != "/dev/tape" {
		t.Errorf("the source is %+v", p.Source.Custom)
	}
	if got := p.Redact(errors.New("no top secret")).Error(); got != "no [hidden]" {
		t.Error(got)
	}
	var s Stage
	if err := json.Unmarshal([]byte(`{"a":{},"b":{}}`), &s); err == nil {
		t.Errorf("two stages are one: %+v", s)
	}
}

func TestMistakesOfStages(t *testing.T) {
	const head = "pipeline: a\nsource: {files: {path: a.csv}}\nload: {table: t}\nstages:\n"
	for _, tt := range []struct {
		name, text string
		line, col  int
		expect     string
	}{
		{"a list", head + "  - trim\n  - [mask]\n", 6, 5, "stages[1]: a stage is a name, or one name with its settings"},
		{"two names", head + "  - {mask: {}, trim: {}}\n", 5, 6, "stages[0]: a stage is a name"},
		{"settings of no keys", head + "  - mask: email\n", 5, 5, "the settings of the stage mask are no mapping"},
		{"no name", head + "  - Mask it\n", 5, 5, `"Mask it" can not be the name of a stage`},
		{"a number", head + "  - 17\n", 5, 5, "a stage is a name"},
		{"unknown parameter", head + "  - trim\n  - mask: {columns: ['${email}']}\n", 6, 0, "stages[1].mask.columns: there is no parameter email"},
		{"too many", head + strings.Repeat("  - trim\n", MaxStages+1), 5, 0, "33 stages are more than 32"},
		{"no kind", "pipeline: a\nsource: {custom: {settings: {a: 1}}}\nload: {table: t}\n", 2, 0, "source.custom: kind is missing"},
		{"no kind of a lookup", "pipeline: a\nsource: {files: {path: a.csv}}\nlookups: {l: {source: {custom: {kind: ''}}}}\nload: {table: t}\n", 3, 0, "lookups.l.source.custom: kind is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.text, "p.yaml", "/x", nil)
			var errs Errors
			if !errors.As(err, &errs) || !strings.Contains(err.Error(), tt.expect) || errs[0].Line != tt.line || tt.col > 0 && errs[0].Column != tt.col {
				t.Errorf("the error is %v, want %d:%d %s", err, tt.line, tt.col, tt.expect)
			}
		})
	}
}
