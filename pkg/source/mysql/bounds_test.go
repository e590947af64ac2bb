package mysql

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/source/sourcetest"
)

// A job reads what came since the state of the one before, whatever the column
// is and whether an index leads to it or not.
func TestBounds(t *testing.T) {
	fill := func(value string, from, to int) string {
		return fmt.Sprintf("SELECT n, %s FROM (SELECT CAST(seq AS UNSIGNED) AS n FROM seq_%d_to_%d) s", value, from, to)
	}
	keyedtest.Bounds(t, database, fill, map[string]keyedtest.Watermark{
		"bigint":             {Type: "bigint NOT NULL", Value: "n", Index: true},
		"unsigned":           {Type: "bigint unsigned", Value: "n + 9223372036854775800", Index: true},
		"timestamp":          {Type: "timestamp(6) NOT NULL DEFAULT '2020-01-01'", Value: "'2026-01-01 00:00:00.000001' + interval n second", Index: true},
		"no index":           {Type: "datetime NOT NULL", Value: "'2026-01-01 00:00:00' + interval n second"},
		"date":               {Type: "date", Value: "'2026-01-01' + interval n day", Index: true},
		"text":               {Type: "varchar(20)", Value: "concat('ž', lpad(n, 5, '0'))", Index: true},
		"float":              {Type: "float", Value: "n / 8", Index: true},
		"decimal of a query": {Type: "decimal(20, 4)", Value: "n * 1.5", Query: true},
		"time of a query":    {Type: "timestamp NULL", Value: "'2026-01-01 00:00:00' + interval n second", Query: true},
	})
}

func TestLookback(t *testing.T) {
	exec(t, `CREATE TABLE late (id bigint unsigned PRIMARY KEY, at timestamp(3) NOT NULL, day date, share double, amount decimal(12, 4), clock time, name varchar(10));
INSERT INTO late SELECT seq, '2026-01-01 00:00:00' + interval seq second, '2026-01-01' + interval seq day, seq / 8, seq / 4, '01:00:00', 'x' FROM seq_0_to_7199`)
	keyedtest.Lookbacks(t, database, map[string]keyedtest.Late{
		"hour":             {Column: "at", Back: job.Lookback{N: 1, Unit: "hour"}, Rows: 3600},
		"number":           {Column: "id", Back: job.Lookback{N: 3600}, Rows: 3600},
		"below zero":       {Column: "id", Back: job.Lookback{N: 9000}, Rows: 7200},
		"days":             {Column: "day", Back: job.Lookback{N: 30, Unit: "day"}, Rows: 30},
		"part of a day":    {Column: "day", Back: job.Lookback{N: 1, Unit: "hour"}, Rows: 1},
		"before all days":  {Column: "day", Back: job.Lookback{N: 9000, Unit: "year"}, Rows: 7200},
		"double":           {Column: "share", Back: job.Lookback{N: 10}, Rows: 80},
		"decimal":          {Column: "amount", Back: job.Lookback{N: 10}, Rows: 40},
		"where":            {Column: "id", Back: job.Lookback{N: 10}, Where: "id < 100 -- all", Rows: 10},
		"number of a time": {Column: "at", Back: job.Lookback{N: 3600}, Text: "write a time"},
		"time of a number": {Column: "id", Back: job.Lookback{N: 1, Unit: "hour"}, Text: "write a number"},
		"clock":            {Column: "clock", Back: job.Lookback{N: 1, Unit: "hour"}, Text: "can not be taken off a time"},
		"text":             {Column: "name", Back: job.Lookback{N: 1}, Text: "can not be taken off a varchar"},
	})
}

func TestNoWatermark(t *testing.T) {
	exec(t, "CREATE TABLE unmarked (id int PRIMARY KEY, doc json, name varchar(300)); INSERT INTO unmarked VALUES (1, '1', repeat('x', 300))")
	for name, tt := range map[string]struct {
		Config
		column, text string
	}{
		"no column":       {Config{Table: "unmarked"}, "nowhere", `no column "nowhere"`},
		"text of a query": {Config{Query: "SELECT * FROM unmarked"}, "name", "can not be a watermark"},
		"long text":       {Config{Table: "unmarked"}, "name", "too long"},
		"geometry":        {Config{Query: "SELECT ST_PointFromText('POINT(1 2)') AS p"}, "p", "can not be a watermark"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.Watermark.Column = tt.column
			_, _, err := mustNew(t, tt.Config).Bounds(t.Context(), nil)
			sourcetest.WantError(t, err, job.Permanent, tt.text)
		})
	}
	// A state that is not of the column as it is now is nothing to go on from.
	cfg := Config{Table: "unmarked", Watermark: job.Watermark{Column: "id", Lookback: job.Lookback{N: 1}}}
	_, _, err := mustNew(t, cfg).Bounds(t.Context(), json.RawMessage(`{"to":"1; DROP TABLE unmarked"}`))
	if err == nil || !strings.Contains(err.Error(), "dray watermarks forget") {
		t.Errorf("the error is %v", err)
	}
	cfg.Bounds = json.RawMessage(`{"from":"2026-01-01","to":"2026-01-02"}`)
	s := mustNew(t, cfg)
	if _, err := sourcetest.Plan(t, s, nil, sourcetest.Columns(t, s)); err == nil || job.ClassOf(err) != job.Permanent {
		t.Errorf("the error is %v", err)
	}
}
