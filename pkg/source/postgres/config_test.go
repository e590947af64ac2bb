package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

func TestConfig(t *testing.T) {
	const url = "postgres://u:hunter2@h/d"
	for name, tt := range map[string]struct {
		Config
		field, text string
	}{
		"table":         {Config{URL: url, Table: "t"}, "", ""},
		"query":         {Config{URL: "postgresql://h:1,g:2/d?sslmode=require", Query: "SELECT 1"}, "", ""},
		"no url":        {Config{Table: "t"}, "url", "missing"},
		"other url":     {Config{URL: "mysql://u:hunter2@h/d", Table: "t"}, "url", "postgres://"},
		"words":         {Config{URL: "host=h password=hunter2", Table: "t"}, "url", "postgres://"},
		"broken url":    {Config{URL: "postgres://u:hunter2 /%zz@h:x/d", Table: "t"}, "url", "no"},
		"nothing":       {Config{URL: url}, "table", "missing"},
		"both":          {Config{URL: url, Table: "t", Query: "SELECT 1"}, "query", "beside table"},
		"long":          {Config{URL: url, Table: strings.Repeat("t", keyed.MaxTable+1)}, "table", "letters"},
		"zero":          {Config{URL: url, Table: "t", Where: "v = '\x00'"}, "where", "zero byte"},
		"many keys":     {Config{URL: url, Table: "t", Key: strings.Split("abcdefghi", "")}, "key", "8 are possible"},
		"empty key":     {Config{URL: url, Table: "t", Key: []string{""}}, "key", "empty name"},
		"key twice":     {Config{URL: url, Table: "t", Key: []string{"a", "a"}}, "key", "twice"},
		"chunk":         {Config{URL: url, Table: "t", ChunkBytes: -1}, "chunk", "negative"},
		"unknown value": {Config{URL: url + "?sslmode=maybe", Table: "t"}, "url", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tt.Config)
			if tt.field == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var all source.FieldErrors
			if !errors.As(err, &all) || len(all) != 1 || all[0].Field != tt.field || !strings.Contains(all[0].Error(), tt.text) || job.ClassOf(err) != job.Permanent {
				t.Fatalf("the error is %v", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in %v", err)
			}
		})
	}
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
	s := mustNew(t, Config{Table: "public.t"})
	for input, want := range map[string]string{
		`{"m":"k","k":["a","b"],"a":["1","x"],"z":["2","y"]}`: "table public.t, a, b after 1, x up to 2, y",
		`{"m":"k","k":["a"],"n":true}`:                        "table public.t, rows with a NULL in a",
		`{"m":"b","b":0,"e":8}`:                               "table public.t, blocks 0 up to 7",
		`{"m":"w"}`:                                           "table public.t",
		`{"m":"k"}`:                                           "",
		`{"m":"b","b":8,"e":8}`:                               "",
		`{"f":"x","k":["a"]}`:                                 "",
		`{}`:                                                  "",
	} {
		at, err := s.Locate([]byte(input))
		if at.String() != want || (err == nil) == (want == "") {
			t.Errorf("%s is %q, want %q: %v", input, at, want, err)
		}
	}
}
