package mysql

import (
	"testing"

	"drayage/pkg/source/keyed"
	"drayage/pkg/source/keyed/keyedtest"
)

func TestSuite(t *testing.T) {
	exec(t, `CREATE USER suite IDENTIFIED BY '`+keyedtest.SuitePassword+`'; GRANT SELECT ON test.* TO suite;
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
	keyedtest.Suite(t, database, eng, "suite",
		"SET group_concat_max_len = 10000000; SELECT concat('[', group_concat(json_compact(json_array(id, name)) ORDER BY id), ']') FROM suite",
		"SELECT count(*) FROM information_schema.processlist WHERE user = 'suite'", map[string]keyedtest.Suited{
			"primary key":  {Config: keyed.Config{Table: "suite", Rows: 1000}, Chunks: 3},
			"another key":  {Config: keyed.Config{Table: "suite", Key: []string{"u"}, Rows: 1000}, Chunks: 3},
			"nulls":        {Config: keyed.Config{Table: "suite", Key: []string{"tenant", "name"}, Rows: 1000}, Chunks: 3},
			"where":        {Config: keyed.Config{Table: "suite", Where: "id % 2 = 1 -- odd", Rows: 1000}, Chunks: 3, Odd: true},
			"bare":         {Config: keyed.Config{Table: "suite_bare", Rows: 1000}, Chunks: 1, Uncut: true},
			"view":         {Config: keyed.Config{Table: "suite_view", Key: []string{"id"}, Rows: 1000}, Chunks: 3},
			"whole view":   {Config: keyed.Config{Table: "test.suite_view"}, Chunks: 1, Uncut: true},
			"partitions":   {Config: keyed.Config{Table: "suite_parts", Rows: 1000}, Chunks: 3},
			"no InnoDB":    {Config: keyed.Config{Table: "suite_aria", Rows: 1000}, Chunks: 3},
			"query by key": {Config: keyed.Config{Query: "SELECT id, name FROM suite WHERE id % 2 = 1;", Key: []string{"id"}, Rows: 700}, Chunks: 3, Odd: true},
			"query":        {Config: keyed.Config{Query: "SELECT id, name FROM suite -- all"}, Chunks: 1, Uncut: true},
		})
}
