package keyedtest

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

// Invalid is a configuration and the mistake in it, none where Field is empty.
type Invalid struct {
	keyed.Config
	Field, Text string
}

// Configs tests that mistakes are told without a server, and no password. url is a
// good one, with "hunter2" in it; own are cases beside those of every server.
func Configs(t *testing.T, d Database, url string, own map[string]Invalid) {
	cases := map[string]Invalid{
		"table":     {Config: keyed.Config{URL: url, Table: "t"}},
		"no url":    {Config: keyed.Config{Table: "t"}, Field: "url", Text: "missing"},
		"nothing":   {Config: keyed.Config{URL: url}, Field: "table", Text: "missing"},
		"both":      {Config: keyed.Config{URL: url, Table: "t", Query: "SELECT 1"}, Field: "query", Text: "beside table"},
		"long":      {Config: keyed.Config{URL: url, Table: strings.Repeat("t", keyed.MaxTable+1)}, Field: "table", Text: "letters"},
		"many keys": {Config: keyed.Config{URL: url, Table: "t", Key: strings.Split("abcdefghi", "")}, Field: "key", Text: "8 are possible"},
		"empty key": {Config: keyed.Config{URL: url, Table: "t", Key: []string{""}}, Field: "key", Text: "empty name"},
		"key twice": {Config: keyed.Config{URL: url, Table: "t", Key: []string{"a", "a"}}, Field: "key", Text: "twice"},
		"chunk":     {Config: keyed.Config{URL: url, Table: "t", ChunkBytes: -1}, Field: "chunk", Text: "negative"},
	}
	maps.Copy(cases, own)
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := d.Make(tt.Config)
			if tt.Field == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var all source.FieldErrors
			if !errors.As(err, &all) || len(all) != 1 || all[0].Field != tt.Field || !strings.Contains(all[0].Error(), tt.Text) || job.ClassOf(err) != job.Permanent {
				t.Fatalf("the error is %v", err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the password is in %v", err)
			}
		})
	}
	if _, err := d.Make(keyed.Config{URL: url, Table: "t", Bounds: []byte("{")}); job.ClassOf(err) != job.Permanent {
		t.Errorf("bounds that do not parse: %v", err)
	}
}

// Places tests what people are told of the chunks of a table; "" is that they name
// none.
func Places(t *testing.T, d Database, table string, cases map[string]string) {
	s := d.New(t, keyed.Config{Table: table})
	for input, want := range cases {
		at, err := s.Locate([]byte(input))
		if at.String() != want || (err == nil) == (want == "") {
			t.Errorf("%s is %q, want %q: %v", input, at, want, err)
		}
	}
}
