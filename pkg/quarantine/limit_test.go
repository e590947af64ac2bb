package quarantine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/quarantine"
)

// TestLimit: above reject.max the chunk fails for good, and says why.
func TestLimit(t *testing.T) {
	data := strings.Repeat("1\n", 98) + "300\nx\n"
	for _, tt := range []struct {
		limit pipeline.RowLimit
		ok    bool
	}{
		{pipeline.RowLimit{Rows: 2}, true},
		{pipeline.RowLimit{Percent: 1.1, Relative: true}, true},
		{pipeline.RowLimit{Rows: 1}, false},
		{pipeline.RowLimit{Percent: 0.9, Relative: true}, false},
	} {
		t.Run(tt.limit.String(), func(t *testing.T) {
			t.Parallel()
			rows, sep, err := chunk{format: "CSV", columns: cols("n", "UInt8"), data: data, limit: tt.limit, offset: 1000}.load(t)
			if tt.ok {
				if err != nil || len(rows) != 98 || sep.Records != 100 || len(sep.Rejects()) != 2 {
					t.Errorf("%d rows, %+v: %v", len(rows), sep, err)
				}
				return
			}
			var many *quarantine.TooManyError
			if !errors.As(err, &many) || job.ClassOf(err) != job.Permanent {
				t.Fatal(err)
			}
			if many.Records != 100 || many.Rejected != 2 || many.Limit != 1 || many.First.Record != 99 || many.First.Offset != 1196 {
				t.Errorf("%+v", many)
			}
			if want := `2 of 100 rows were rejected, reject.max allows 1; the first is record 99 at byte 1196, column n: "300" is no UInt8`; err.Error() != want {
				t.Errorf("%q, want %q", err, want)
			}
		})
	}
}

// TestNoRowAtFault: an error that is not one of rows comes out as it was.
func TestNoRowAtFault(t *testing.T) {
	two := cols("id", "UInt8", "name", "String")
	for _, tt := range []struct {
		name  string
		c     chunk
		check func(error) bool
	}{
		{"of the statement", chunk{format: "CSV", columns: two, data: "1,a\n", sql: "SELECT throwIf(count() = 0) AS x FROM chunk WHERE id > 9"}, func(err error) bool {
			var e *quarantine.UnexplainedError
			return err != nil && !errors.As(err, &e)
		}},
		{"of rows together", chunk{format: "CSV", columns: two, data: "1,a\n2,b\n", sql: "SELECT throwIf(count() > 1) AS x FROM chunk"}, func(err error) bool {
			var e *quarantine.UnexplainedError
			return errors.As(err, &e) && job.ClassOf(err) == job.Permanent
		}},
		{"of a binary format", chunk{format: "Native", columns: two, data: "nonsense"}, func(err error) bool {
			var e *quarantine.UnexplainedError
			return err != nil && !errors.As(err, &e)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := tt.c.load(t); !tt.check(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	for code, want := range map[int]bool{6: true, 32: true, 33: true, 395: true, 153: true, 47: false, 62: false, 60: false} {
		err := job.WithClass(exception(code), map[bool]job.Class{true: job.Retry, false: job.Permanent}[code == 32 || code == 33])
		if got := quarantine.Suspicious(fmt.Errorf("transforming: %w", err)); got != want {
			t.Errorf("code %d: %v", code, got)
		}
	}
	if quarantine.Suspicious(errors.New("x")) || quarantine.Suspicious(job.WithClass(exception(241), job.SlowDown)) {
		t.Error("not every error is one of rows")
	}
}
