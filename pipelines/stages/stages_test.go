package stages_test

import (
	"fmt"
	"strings"
	"testing"

	"drayage/pipelines/stages"
	"drayage/pkg/job"
	"drayage/pkg/stage"
	"drayage/pkg/stage/stagetest"
)

func TestSpellNames(t *testing.T) {
	build := func() (stage.Stage, error) {
		return stages.SpellNames(stages.SpellNamesSettings{Column: "name", Words: map[string]string{"xwind": "Crosswind"}})
	}
	columns := []job.Column{{Name: "name", Type: "String"}}
	names := [][2]string{
		{"DALLAS/FORT WORTH INTL ARPT", "Dallas/Fort Worth International Airport"},
		{"CHICAGO O'HARE INTL ARPT", "Chicago O'Hare International Airport"},
		{"PORTLAND INTL (OR)", "Portland International (OR)"},
		{"CHARLESTON AFB/INTL ARPT", "Charleston Air Force Base/International Airport"},
		{"LAMBERT-ST LOUIS INTL", "Lambert-St. Louis International"},
		{"SAINT MARY'S", "Saint Mary's"},
		{"Xwind FLD", "Crosswind Field"},
		{"ÉVORA", "Évora"},
	}
	var records []string
	for _, n := range names {
		records = append(records, fmt.Sprintf(`{"name":%q}`, n[0]))
	}
	res := stagetest.Run(t, build, columns, append(records, `{"name":" "}`)...)
	for i, n := range names {
		if want := fmt.Sprintf(`{"name":%q}`, n[1]); res.Rows[i] != want {
			t.Errorf("%s gives %s, want %s", n[0], res.Rows[i], want)
		}
	}
	if len(res.Rejects) != 1 || !strings.Contains(res.Rejects[len(names)], "there is no name") {
		t.Errorf("the rejects are %v", res.Rejects)
	}
}

func TestMovements(t *testing.T) {
	build := func() (stage.Stage, error) { return stages.Movements(stages.MovementsSettings{}) }
	columns := []job.Column{{Name: "date", Type: "String"}, {Name: "delay", Type: "Int32"}, {Name: "distance", Type: "Int32"}, {Name: "origin", Type: "String"}, {Name: "destination", Type: "String"}}
	res := stagetest.Run(t, build, columns,
		`{"date":"2001/01/14 21:55","delay":5,"distance":450,"origin":"SMF","destination":"SAN"}`,
		`{"date":"2001/02/30 21:55","delay":5,"distance":450,"origin":"SMF","destination":"SAN"}`,
		`{"date":"2001/01/14 21:55","delay":5,"distance":450,"origin":"SMF","destination":"SMF"}`,
	)
	want := `{"airport":"SMF","other":"SAN","kind":"departure","at":"2001-01-14T22:00:00Z"}
{"airport":"SAN","other":"SMF","kind":"arrival","at":"2001-01-14T23:30:00Z"}`
	if got := strings.Join(res.Rows, "\n"); got != want {
		t.Errorf("the rows are\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(res.Rejects[1], "day out of range") || res.Rejects[2] != "the flight leaves SMF for SMF" {
		t.Errorf("the rejects are %v", res.Rejects)
	}
}

// Settings that can not work are refused when the job is planned.
func TestSettings(t *testing.T) {
	for name, settings := range map[string]string{"spell-names": `{}`, "movements": `{"speed": -1}`} {
		if _, err := stages.All()[name]([]byte(settings)); err == nil {
			t.Errorf("%s takes %s", name, settings)
		}
	}
}
