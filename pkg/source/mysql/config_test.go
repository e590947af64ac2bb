package mysql

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

func TestConfig(t *testing.T) {
	const url = "mysql://u:hunter2@h/d"
	for name, tt := range map[string]struct {
		Config
		field, text string
	}{
		"table":       {Config{URL: url, Table: "t"}, "", ""},
		"query":       {Config{URL: "mariadb://u@h:1/d?tls=skip-verify", Query: "SELECT 1"}, "", ""},
		"socket":      {Config{URL: "mysql://u:hunter2@/d?socket=/run/x.sock", Table: "`a``b`.`c d`"}, "", ""},
		"IPv6":        {Config{URL: "mysql://u@[::1]:3307/d", Table: "d.t"}, "", ""},
		"no url":      {Config{Table: "t"}, "url", "missing"},
		"other url":   {Config{URL: "postgres://u:hunter2@h/d", Table: "t"}, "url", "mysql://"},
		"words":       {Config{URL: "u:hunter2@tcp(h:3306)/d", Table: "t"}, "url", "mysql://"},
		"broken url":  {Config{URL: "mysql://u:hunter2 /%zz@h:x/d", Table: "t"}, "url", "no"},
		"no user":     {Config{URL: "mysql://h/d", Table: "t"}, "url", "no user"},
		"no host":     {Config{URL: "mysql://u:hunter2@/d", Table: "t"}, "url", "no host"},
		"no database": {Config{URL: "mysql://u:hunter2@h", Table: "t"}, "url", "no database"},
		"parameter":   {Config{URL: url + "?charset=latin1", Table: "t"}, "url", `"charset"`},
		"tls":         {Config{URL: url + "?tls=maybe", Table: "t"}, "url", "skip-verify"},
		"no ca":       {Config{URL: url + "?ca=/nowhere.pem", Table: "t"}, "url", "/nowhere.pem"},
		"empty ca":    {Config{URL: url + "?ca=/dev/null", Table: "t"}, "url", "without certificates"},
		"near socket": {Config{URL: url + "?socket=run", Table: "t"}, "url", "absolute"},
		"nothing":     {Config{URL: url}, "table", "missing"},
		"both":        {Config{URL: url, Table: "t", Query: "SELECT 1"}, "query", "beside table"},
		"long":        {Config{URL: url, Table: strings.Repeat("t", keyed.MaxTable+1)}, "table", "letters"},
		"three parts": {Config{URL: url, Table: "a.b.c"}, "table", "one dot"},
		"open quote":  {Config{URL: url, Table: "`a"}, "table", "not closed"},
		"statement":   {Config{URL: url, Table: "t WHERE 1"}, "table", "not the name"},
		"many keys":   {Config{URL: url, Table: "t", Key: strings.Split("abcdefghi", "")}, "key", "8 are possible"},
		"empty key":   {Config{URL: url, Table: "t", Key: []string{""}}, "key", "empty name"},
		"key twice":   {Config{URL: url, Table: "t", Key: []string{"a", "A"}}, "key", "twice"},
		"chunk":       {Config{URL: url, Table: "t", ChunkBytes: -1}, "chunk", "negative"},
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
	if _, err := New(Config{URL: url, Table: "t", Bounds: []byte("{")}); job.ClassOf(err) != job.Permanent {
		t.Errorf("bounds that do not parse: %v", err)
	}
}

func TestVerdicts(t *testing.T) {
	for code, want := range map[uint16]job.Class{
		1205: job.Retry, 1213: job.Retry, 1317: job.Retry, 1053: job.Retry, 1412: job.Retry, 1927: job.Retry, 9999: job.Retry,
		1040: job.SlowDown, 1203: job.SlowDown, 1226: job.SlowDown,
		1044: job.Permanent, 1045: job.Permanent, 1049: job.Permanent, 1054: job.Permanent, 1064: job.Permanent, 1142: job.Permanent,
		1146: job.Permanent, 1690: job.Permanent, 1792: job.Permanent,
	} {
		err := classify("table t: reading", &mysql.MySQLError{Number: code, Message: "because"})
		if job.ClassOf(err) != want || number(err) != code || !strings.HasPrefix(err.Error(), "table t: reading: because") {
			t.Errorf("%d is %s, want %s: %v", code, job.ClassOf(err), want, err)
		}
	}
	if classify("reading", nil) != nil {
		t.Error("no error is one")
	}
	if err := classify("reading", fmt.Errorf("connecting: %w", mysql.ErrNoTLS)); job.ClassOf(err) != job.Permanent {
		t.Errorf("it is %s: %v", job.ClassOf(err), err)
	}
}

func TestLocate(t *testing.T) {
	s := mustNew(t, Config{Table: "shop.t"})
	for input, want := range map[string]string{
		`{"f":"x","k":["a","b"],"c":["","utf8mb4_bin"],"a":["1","C5BE"],"z":["2","00"]}`: `table shop.t, a, b after 1, "ž" up to 2, 0x00`,
		`{"f":"x","k":["a"],"c":["binary"],"z":["41"]}`:                                  "table shop.t, a up to 0x41",
		`{"f":"x","k":["a"],"n":true}`:                                                   "table shop.t, rows with a NULL in a",
		`{"f":"x"}`:                                                                      "table shop.t",
		`{"k":["a"]}`:                                                                    "",
		`{"f":"x","a":["1"]}`:                                                            "",
		`{"f":"x","m":"w"}`:                                                              "",
		`{}`:                                                                             "",
	} {
		at, err := s.Locate([]byte(input))
		if at.String() != want || (err == nil) == (want == "") {
			t.Errorf("%s is %q, want %q: %v", input, at, want, err)
		}
	}
}
