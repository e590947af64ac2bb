package postgres

import (
	"testing"

	"drayage/pkg/source/keyed"
	"drayage/pkg/source/keyed/keyedtest"
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
	keyedtest.Suite(t, database, eng, "postgres",
		"SELECT json_agg(json_build_array(id, name) ORDER BY id) FROM suite",
		"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drayage'", map[string]keyedtest.Suited{
			"primary key":  {Config: keyed.Config{Table: "suite", Rows: 1000}, Chunks: 3},
			"nulls":        {Config: keyed.Config{Table: "suite", Key: []string{"tenant", "name"}, Rows: 1000}, Chunks: 3},
			"where":        {Config: keyed.Config{Table: "suite", Where: "id % 2 = 1 -- odd", Rows: 1000}, Chunks: 3, Odd: true},
			"blocks":       {Config: keyed.Config{Table: "suite_blocks", Rows: 1000}, Chunks: 3},
			"view":         {Config: keyed.Config{Table: "suite_view", Key: []string{"id"}, Rows: 1000}, Chunks: 3},
			"whole view":   {Config: keyed.Config{Table: "suite_view"}, Chunks: 1, Uncut: true},
			"partitions":   {Config: keyed.Config{Table: "suite_parts", Rows: 1000}, Chunks: 3},
			"inheritance":  {Config: keyed.Config{Table: "suite_parent", Rows: 1000}, Chunks: 3},
			"query by key": {Config: keyed.Config{Query: "SELECT id, name FROM suite WHERE id % 2 = 1;", Key: []string{"id"}, Rows: 700}, Chunks: 3, Odd: true},
			"query":        {Config: keyed.Config{Query: "SELECT id, name FROM suite -- all"}, Chunks: 1, Uncut: true},
		})
}
