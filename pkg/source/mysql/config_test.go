package mysql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/keyed/keyedtest"
)

func TestConfig(t *testing.T) {
	const url = "mysql://u:hunter2@h/d"
	keyedtest.Configs(t, database, url, map[string]keyedtest.Invalid{
		"query":       {Config: keyed.Config{URL: "mariadb://u@h:1/d?tls=skip-verify", Query: "SELECT 1"}},
		"socket":      {Config: keyed.Config{URL: "mysql://u:hunter2@/d?socket=/run/x.sock", Table: "`a``b`.`c d`"}},
		"IPv6":        {Config: keyed.Config{URL: "mysql://u@[::1]:3307/d", Table: "d.t"}},
		"other url":   {Config: keyed.Config{URL: "postgres://u:hunter2@h/d", Table: "t"}, Field: "url", Text: "mysql://"},
		"words":       {Config: keyed.Config{URL: "u:hunter2@tcp(h:3306)/d", Table: "t"}, Field: "url", Text: "mysql://"},
		"broken url":  {Config: keyed.Config{URL: "mysql://u:hunter2 /%zz@h:x/d", Table: "t"}, Field: "url", Text: "no"},
		"no user":     {Config: keyed.Config{URL: "mysql://h/d", Table: "t"}, Field: "url", Text: "no user"},
		"no host":     {Config: keyed.Config{URL: "mysql://u:hunter2@/d", Table: "t"}, Field: "url", Text: "no host"},
		"no database": {Config: keyed.Config{URL: "mysql://u:hunter2@h", Table: "t"}, Field: "url", Text: "no database"},
		"parameter":   {Config: keyed.Config{URL: url + "?charset=latin1", Table: "t"}, Field: "url", Text: `"charset"`},
		"tls":         {Config: keyed.Config{URL: url + "?tls=maybe", Table: "t"}, Field: "url", Text: "skip-verify"},
		"no ca":       {Config: keyed.Config{URL: url + "?ca=/nowhere.pem", Table: "t"}, Field: "url", Text: "/nowhere.pem"},
		"empty ca":    {Config: keyed.Config{URL: url + "?ca=/dev/null", Table: "t"}, Field: "url", Text: "without certificates"},
		"near socket": {Config: keyed.Config{URL: url + "?socket=run", Table: "t"}, Field: "url", Text: "absolute"},
		"three parts": {Config: keyed.Config{URL: url, Table: "a.b.c"}, Field: "table", Text: "one dot"},
		"open quote":  {Config: keyed.Config{URL: url, Table: "`a"}, Field: "table", Text: "not closed"},
		"statement":   {Config: keyed.Config{URL: url, Table: "t WHERE 1"}, Field: "table", Text: "not the name"},
		"key twice":   {Config: keyed.Config{URL: url, Table: "t", Key: []string{"a", "A"}}, Field: "key", Text: "twice"},
	})
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
	keyedtest.Places(t, database, "shop.t", map[string]string{
		`{"f":"x","k":["a","b"],"c":["","utf8mb4_bin"],"a":["1","C5BE"],"z":["2","00"]}`: `table shop.t, a, b after 1, "ž" up to 2, 0x00`,
		`{"f":"x","k":["a"],"c":["binary"],"z":["41"]}`:                                  "table shop.t, a up to 0x41",
		`{"f":"x","k":["a"],"n":true}`:                                                   "table shop.t, rows with a NULL in a",
		`{"f":"x"}`:                                                                      "table shop.t",
		`{"k":["a"]}`:                                                                    "",
		`{"f":"x","a":["1"]}`:                                                            "",
		`{"f":"x","m":"w"}`:                                                              "",
		`{}`:                                                                             "",
	})
}
