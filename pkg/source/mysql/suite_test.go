package mysql

import (
	"encoding/json"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

func TestSuite(t *testing.T) {
	exec(t, `CREATE USER suite IDENTIFIED BY 'hunter2secret'; GRANT SELECT ON test.* TO suite;
CREATE TABLE suite (id bigint PRIMARY KEY, tenant int, name varchar(60), at timestamp(6), u uuid, UNIQUE (u), KEY (tenant, name));
INSERT INTO suite SELECT seq * seq, nullif(seq % 7, 0), concat('name ', seq), timestamp '2026-01-01 00:00:00' + interval seq hour, insert(insert(md5(seq), 13, 1, '4'), 17, 1, 'a') FROM seq_1_to_3000;
CREATE TABLE suite_bare AS SELECT * FROM suite;
CREATE VIEW suite_view AS SELECT * FROM suite;
CREATE TABLE suite_parts LIKE suite;
ALTER TABLE suite_parts DROP KEY u PARTITION BY HASH (id) PARTITIONS 3;
INSERT INTO suite_parts SELECT * FROM suite;
CREATE TABLE suite_aria LIKE suite;
ALTER TABLE suite_aria ENGINE = Aria;
INSERT INTO suite_aria SELECT * FROM suite`)
	columns := []job.Column{{Name: "id", Type: "Int64"}, {Name: "name", Type: "String"}}
	var all, odd []string
	var rows []json.RawMessage
	if err := json.Unmarshal([]byte(exec(t, "SET group_concat_max_len = 10000000; SELECT concat('[', group_concat(json_compact(json_array(id, name)) ORDER BY id), ']') FROM suite")), &rows); err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		all = append(all, string(r))
		if i%2 == 0 { // the square of an odd number
			odd = append(odd, string(r))
		}
	}
	for name, c := range map[string]struct {
		Config
		sourcetest.Case
	}{
		"primary key":  {Config{Table: "suite", Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"another key":  {Config{Table: "suite", Key: []string{"u"}, Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"nulls":        {Config{Table: "suite", Key: []string{"tenant", "name"}, Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"where":        {Config{Table: "suite", Where: "id % 2 = 1 -- odd", Rows: 1000}, sourcetest.Case{Want: odd, Chunks: 3}},
		"bare":         {Config{Table: "suite_bare", Rows: 1000}, sourcetest.Case{Want: all, Chunks: 1, Uncut: true}},
		"view":         {Config{Table: "suite_view", Key: []string{"id"}, Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"whole view":   {Config{Table: "test.suite_view"}, sourcetest.Case{Want: all, Chunks: 1, Uncut: true}},
		"partitions":   {Config{Table: "suite_parts", Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"no InnoDB":    {Config{Table: "suite_aria", Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"query by key": {Config{Query: "SELECT id, name FROM suite WHERE id % 2 = 1;", Key: []string{"id"}, Rows: 700}, sourcetest.Case{Want: odd, Chunks: 3}},
		"query":        {Config{Query: "SELECT id, name FROM suite -- all"}, sourcetest.Case{Want: all, Chunks: 1, Uncut: true}},
	} {
		t.Run(name, func(t *testing.T) {
			c.URL = db.URL("suite", "hunter2secret")
			c.Columns, c.Engine, c.Secrets = columns, eng, []string{"hunter2secret"}
			c.New = func() (source.Source, error) { return New(c.Config) }
			sourcetest.Run(t, c.Case)
		})
	}
	if n := exec(t, "SELECT count(*) FROM information_schema.processlist WHERE user = 'suite'"); n != "0" {
		t.Errorf("%s connections are left", n)
	}
}
