package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/keyed/keyedtest"
)

func TestConfig(t *testing.T) {
	const url = "postgres://u:hunter2@h/d"
	keyedtest.Configs(t, database, url, map[string]keyedtest.Invalid{
		"query":         {Config: keyed.Config{URL: "postgresql://h:1,g:2/d?sslmode=require", Query: "SELECT 1"}},
		"other url":     {Config: keyed.Config{URL: "mysql://u:hunter2@h/d", Table: "t"}, Field: "url", Text: "postgres://"},
		"words":         {Config: keyed.Config{URL: "host=h password=hunter2", Table: "t"}, Field: "url", Text: "postgres://"},
		"broken url":    {Config: keyed.Config{URL: "postgres://u:hunter2 /%zz@h:x/d", Table: "t"}, Field: "url", Text: "no"},
		"zero":          {Config: keyed.Config{URL: url, Table: "t", Where: "v = '\x00'"}, Field: "where", Text: "zero byte"},
		"unknown value": {Config: keyed.Config{URL: url + "?sslmode=maybe", Table: "t"}, Field: "url", Text: "no"},
	})
}

func TestVerdicts(t *testing.T) {
	for code, want := range map[string]job.Class{
		"08006": job.Retry, "57P01": job.Retry, "57P03": job.Retry, "57014": job.Retry, "40001": job.Retry, "40P01": job.Retry,
		"53200": job.Retry, "53300": job.SlowDown, "55P03": job.Retry, "XX000": job.Retry,
		"28P01": job.Permanent, "28000": job.Permanent, "3D000": job.Permanent, "42501": job.Permanent, "42601": job.Permanent,
		"42703": job.Permanent, "22012": job.Permanent, "54000": job.Permanent, "0A000": job.Permanent, "25006": job.Permanent,
	} {
		err := classify("table t: reading", &pgconn.PgError{Code: code, Message: "because"})
		if job.ClassOf(err) != want || state(err) != code || !strings.HasPrefix(err.Error(), "table t: reading: because") {
			t.Errorf("%s is %s, want %s: %v", code, job.ClassOf(err), want, err)
		}
	}
	if classify("reading", nil) != nil {
		t.Error("no error is one")
	}
}

func TestLocate(t *testing.T) {
	keyedtest.Places(t, database, "public.t", map[string]string{
		`{"m":"k","k":["a","b"],"a":["1","x"],"z":["2","y"]}`: "table public.t, a, b after 1, x up to 2, y",
		`{"m":"k","k":["a"],"n":true}`:                        "table public.t, rows with a NULL in a",
		`{"m":"b","b":0,"e":8}`:                               "table public.t, blocks 0 up to 7",
		`{"m":"w"}`:                                           "table public.t",
		`{"m":"k"}`:                                           "",
		`{"m":"b","b":8,"e":8}`:                               "",
		`{"f":"x","k":["a"]}`:                                 "",
		`{}`:                                                  "",
	})
}
