package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"drayage/coordinator/api"
	"drayage/pkg/job"
)

// submitPage is the form for a pipeline, with what a preview of it gave.
type submitPage struct {
	frame
	Form     submitForm
	Problems string // why it can not be run; "" when nothing is known to be wrong
	Preview  *preview
}

type submitForm struct{ Pipeline, Params, Job, Dir string }

// preview is what the beginning of the input gives.
type preview struct {
	Summary string
	Tables  []previewTable
	Rejects []api.PreviewReject
}

type previewTable struct {
	Name    string
	Columns []job.Column
	Rows    [][]string
}

const (
	// previewRows is how many rows of each output a preview shows.
	previewRows = 20
	// previewIn bounds the time until a preview is answered: what api gives it,
	// and some to be sent.
	previewIn = 3 * time.Minute
)

// example is what the empty form begins with.
const example = `pipeline: numbers
source:
  generate:
    rows: 1000000
    select: number AS id, number % 7 AS weekday
transform: |
  SELECT id, weekday, id * 2 AS double
  FROM chunk
load:
  table: numbers
  create: ENGINE = MergeTree ORDER BY id
`

func (s *Site) submit(w http.ResponseWriter, r *http.Request) error {
	s.write(w, r, http.StatusOK, "submit", submitPage{frame: s.frame(r, "Submit a pipeline", ""), Form: submitForm{Pipeline: example}})
	return nil
}

// submitted previews or submits what the form has.
func (s *Site) submitted(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return fmt.Errorf("reading the form: %w", err)
	}
	f := r.PostForm
	p := submitPage{frame: s.frame(r, "Submit a pipeline", ""), Form: submitForm{f.Get("pipeline"), f.Get("params"), strings.TrimSpace(f.Get("job")), strings.TrimSpace(f.Get("dir"))}}
	// A form has the line ends of the network, a pipeline file those of files.
	request := api.SubmitRequest{Pipeline: strings.ReplaceAll(p.Form.Pipeline, "\r\n", "\n"), Job: p.Form.Job, Dir: p.Form.Dir, File: "pipeline.yaml"}
	var err error
	if request.Params, err = readParams(p.Form.Params); err != nil {
		return s.refuse(w, r, p, err)
	}
	if f.Get("do") != "submit" {
		// Longer than other answers take. A recorder of a test has no deadline.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(previewIn))
		result, err := s.service.Preview(r.Context(), request, previewRows)
		if err != nil {
			return s.refuse(w, r, p, err)
		}
		p.Preview = previewOf(result)
		s.write(w, r, http.StatusOK, "submit", p)
		return nil
	}
	row, _, err := s.service.Submit(r.Context(), request)
	if err != nil {
		return s.refuse(w, r, p, err)
	}
	return seeOther(w, r, "/jobs/"+row.ID, "submit")
}

// refuse shows the form again with what is wrong with it.
func (s *Site) refuse(w http.ResponseWriter, r *http.Request, p submitPage, err error) error {
	problem := problemOf(err)
	if problem.Status >= http.StatusInternalServerError && problem.Status != http.StatusNotImplemented {
		return err
	}
	p.Problems = problem.Detail
	if len(problem.Mistakes) > 0 {
		p.Problems = problem.Mistakes.Error()
	}
	if hint := pageHint(problem.Hint); hint != "" && len(problem.Mistakes) == 0 {
		p.Problems += "\n" + sentence(hint) + "."
	}
	s.write(w, r, problem.Status, "submit", p)
	return nil
}

// readParams reads lines of name=value.
func readParams(text string) (map[string]string, error) {
	params := map[string]string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, &api.Problem{Status: http.StatusBadRequest, Title: "the params can not be read", Detail: fmt.Sprintf("The line %q of the params is not name=value.", clip(line, maxNote))}
		}
		params[name] = strings.TrimSpace(value)
	}
	return params, nil
}

func previewOf(v api.Preview) *preview {
	p := &preview{Rejects: v.Rejects, Summary: fmt.Sprintf("%s rows of %s in the first chunk of the input", count(v.Totals.RowsLoaded), count(v.Totals.RowsRead))}
	if n := v.Totals.RowsRejected; n > 0 {
		p.Summary += fmt.Sprintf("; %s would be rejected", count(n))
	}
	for _, o := range v.Outputs {
		t := previewTable{Name: o.Table, Columns: o.Columns}
		for _, row := range o.Rows {
			var cells []string
			for _, value := range row {
				cells = append(cells, clip(valueText(value), maxRaw))
			}
			t.Rows = append(t.Rows, cells)
		}
		p.Tables = append(p.Tables, t)
	}
	for i := range p.Rejects {
		p.Rejects[i].Raw = clip(p.Rejects[i].Raw, maxRaw)
	}
	return p
}

// valueText writes a value as ClickHouse's JSON has it.
func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return "NULL"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
