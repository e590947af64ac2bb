package job

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

func at(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC) }

func said(moves []Move) string {
	text := ""
	for _, m := range moves {
		text += fmt.Sprintf("%s@%s ", m.To, m.At.Format("05.000"))
	}
	return text
}

func TestHistory(t *testing.T) {
	t.Parallel()
	j := Job{ID: "j", State: Submitted, CreatedAt: at(1)}
	if got := said(j.History()); got != "SUBMITTED@01.000 " {
		t.Errorf("got %s", got)
	}
	j.MoveTo(Planning, at(2))
	j.MoveTo(Running, at(1)) // by a clock that is behind
	j.Waiting = &Waiting{Error: "x"}
	before := j
	j.MoveTo(Paused, at(3))
	if before.MoveTo(Failed, at(4)); said(before.History()) != "SUBMITTED@01.000 PLANNING@02.000 RUNNING@02.001 FAILED@04.000 " || !before.FinishedAt.Equal(at(4)) {
		t.Errorf("got %s, finished at %s", said(before.History()), before.FinishedAt)
	}
	if got := said(j.History()); got != "SUBMITTED@01.000 PLANNING@02.000 RUNNING@02.001 PAUSED@03.000 " || j.Waiting != nil || !j.FinishedAt.IsZero() {
		t.Errorf("a copy that was moved has changed it: %s, %+v", got, j)
	}
	for i := range MaxMoves {
		j.MoveTo([]State{Running, Paused}[i%2], at(10+i))
	}
	h := j.History()
	if len(h) != MaxMoves || len(j.Moves) != MaxMoves || h[0] != (Move{Running, at(10)}) || !slices.IsSortedFunc(h, func(a, b Move) int { return a.At.Compare(b.At) }) {
		t.Errorf("got %s", said(h))
	}
}

// Records of older programs know no moves.
func TestHistoryOfOlderPrograms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"state":"RUNNING","created_at":"2026-01-02T03:04:01Z","started_at":"2026-01-02T03:04:02Z","frozen":{"at":"2026-01-02T03:04:05Z"}}`: "SUBMITTED@01.000 RUNNING@05.000 ",
		`{"state":"FAILED","created_at":"2026-01-02T03:04:01Z","finished_at":"2026-01-02T03:04:01Z"}`:                                        "SUBMITTED@01.000 FAILED@01.000 ",
		`{"state":"DONE","created_at":"2026-01-02T03:04:01Z","finished_at":"2026-01-02T03:04:09Z","started_at":"2026-01-02T03:04:02Z"}`:      "SUBMITTED@01.000 DONE@09.000 ",
	} {
		var j Job
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			t.Fatal(err)
		}
		if got := said(j.History()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
