package postgres

import (
	"encoding/json"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

func TestSuite(t *testing.T) {
	exec(t, `CREATE TABLE suite (id int8 PRIMARY KEY, tenant int4, name text, at timestamptz, u uuid UNIQUE);
INSERT INTO suite SELECT i * i, nullif(i % 7, 0), 'name ' || i, '2026-01-01Z'::timestamptz + i * interval '1 hour', md5(i::text)::uuid FROM generate_series(1, 3000) i;
CREATE INDEX ON suite (tenant, name);
CREATE TABLE suite_blocks AS SELECT * FROM suite;
CREATE VIEW suite_view AS SELECT * FROM suite;
CREATE TABLE suite_parts (LIKE suite) PARTITION BY HASH (id);
ALTER TABLE suite_parts ADD PRIMARY KEY (id);
CREATE TABLE suite_parts_0 PARTITION OF suite_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE suite_parts_1 PARTITION OF suite_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO suite_parts SELECT * FROM suite;
CREATE TABLE suite_parent (LIKE suite);
ALTER TABLE suite_parent ADD PRIMARY KEY (id);
CREATE TABLE suite_child () INHERITS (suite_parent);
INSERT INTO suite_parent SELECT * FROM suite WHERE id % 2 = 0;
INSERT INTO suite_child SELECT * FROM suite WHERE id % 2 = 1`)
	columns := []job.Column{{Name: "id", Type: "Int64"}, {Name: "name", Type: "String"}}
	var all, odd []string
	var rows []json.RawMessage
	if err := json.Unmarshal([]byte(exec(t, "SELECT json_agg(json_build_array(id, name) ORDER BY id) FROM suite")), &rows); err != nil {
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
		"nulls":        {Config{Table: "suite", Key: []string{"tenant", "name"}, Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"where":        {Config{Table: "suite", Where: "id % 2 = 1 -- odd", Rows: 1000}, sourcetest.Case{Want: odd, Chunks: 3}},
		"blocks":       {Config{Table: "suite_blocks", Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"view":         {Config{Table: "suite_view", Key: []string{"id"}, Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"whole view":   {Config{Table: "suite_view"}, sourcetest.Case{Want: all, Chunks: 1, Uncut: true}},
		"partitions":   {Config{Table: "suite_parts", Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"inheritance":  {Config{Table: "suite_parent", Rows: 1000}, sourcetest.Case{Want: all, Chunks: 3}},
		"query by key": {Config{Query: "SELECT id, name FROM suite WHERE id % 2 = 1;", Key: []string{"id"}, Rows: 700}, sourcetest.Case{Want: odd, Chunks: 3}},
		"query":        {Config{Query: "SELECT id, name FROM suite -- all"}, sourcetest.Case{Want: all, Chunks: 1, Uncut: true}},
	} {
		t.Run(name, func(t *testing.T) {
			c.URL = db.URL("postgres", "hunter2secret")
			c.Columns, c.Engine, c.Secrets = columns, eng, []string{"hunter2secret"}
			c.New = func() (source.Source, error) { return New(c.Config) }
			sourcetest.Run(t, c.Case)
		})
	}
	if n := exec(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drayage'"); n != "0" {
		t.Errorf("%s connections are left", n)
	}
}
