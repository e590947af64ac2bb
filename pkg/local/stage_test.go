package local_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/stage"
)

// fixed is true once the stage "flaky" was repaired.
var fixed atomic.Bool

// testStages are those that the pipelines of these tests name.
var testStages = stage.Registry{
	"same": stage.New(func(struct{}) (stage.Stage, error) {
		return stage.Map(stage.Keep, func(*stage.Record) error { return nil }), nil
	}),
	"upper": stage.New(func(c struct {
		Column string `json:"column"`
	}) (stage.Stage, error) {
		return stage.Map(stage.Need(c.Column), func(r *stage.Record) error {
			text, err := r.Text(c.Column)
			if err != nil {
				return err
			}
			return r.Set(c.Column, strings.ToUpper(text))
		}), nil
	}),
	"even": stage.New(func(struct{}) (stage.Stage, error) {
		return stage.Filter(func(r *stage.Record) (bool, error) {
			id, err := r.Uint("id")
			return id%2 == 0, err
		}), nil
	}),
	// times makes a row for each number below id modulo 4.
	"times": stage.New(func(struct{}) (stage.Stage, error) {
		return stage.FlatMap(stage.Add("copy", "UInt8"), func(r *stage.Record, emit stage.Emit) error {
			id, err := r.Uint("id")
			for i := range id % 4 {
				err = errors.Join(err, r.Set("copy", i), emit(r))
			}
			return err
		}), nil
	}),
	// bad does to some records what a stage should not.
	"bad": stage.New(func(c struct {
		Fail  map[string]string `json:"fail"` // by id, the error
		Panic map[string]string `json:"panic"`
		Set   map[string]any    `json:"set"` // the value of n
	}) (stage.Stage, error) {
		return stage.Map(stage.Keep, func(r *stage.Record) error {
			id, err := r.Text("id")
			if err != nil {
				return err
			}
			if why, is := c.Fail[id]; is {
				return errors.New(why)
			}
			if why, is := c.Panic[id]; is {
				panic(why)
			}
			if v, is := c.Set[id]; is {
				return r.Set("n", v)
			}
			return nil
		}), nil
	}),
	"flaky": stage.New(func(struct{}) (stage.Stage, error) {
		return stage.Map(stage.Keep, func(r *stage.Record) error {
			if id, err := r.Uint("id"); err != nil || id%100 == 7 && !fixed.Load() {
				return errors.Join(err, errors.New("not yet"))
			}
			return nil
		}), nil
	}),
}

// staged is a pipeline of files with stages.
func staged(table, files, columns, stages, rest string) string {
	return pipe(table, files, "columns: "+columns) + "stages: " + stages + "\n" + rest
}

// Stages stand between the source and the SELECT: one that changes, one that
// drops and one that makes several rows.
func TestStages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var csv strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&csv, "%d,name %d\n", i, i)
	}
	write(t, dir, "a.csv", csv.String())
	text := pipe("stages_all", "path: a.csv, header: false", "columns: id UInt64, name String\n  chunk: 1KiB") +
		"stages: [even, {upper: {column: name}}, times]\ntransform: SELECT id, name, copy FROM chunk WHERE id < 900\n"
	j := stack.Ended(t, submit(t, dir, text))
	if j.State != job.Done || j.Totals.Chunks < 10 || j.Totals.RowsRead != 1000 || j.Totals.RowsRejected != 0 || j.Proof.Rows != j.Totals.RowsLoaded {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got := fmt.Sprint(j.Frozen.Columns, j.Frozen.Staged); got != "[{id UInt64} {name String}] [{id UInt64} {name String} {copy UInt8}]" {
		t.Errorf("the columns are %s", got)
	}
	want := stack.SQL(t, "SELECT count(), sum(n), sum(c), 0 FROM (SELECT number AS n, arrayJoin(range(number % 4)) AS c FROM numbers(900) WHERE n % 2 = 0)")
	if got := stack.SQL(t, "SELECT count(), sum(id), sum(copy), countIf(name != concat('NAME ', toString(id))) FROM stages_all"); got != want {
		t.Errorf("the table has %q, want %q", got, want)
	}
}

// What a stage does not touch is in the table as it is without stages, whatever
// its type and however large its value.
func TestStagesKeepValues(t *testing.T) {
	t.Parallel()
	const values = `SELECT * FROM values('i8 Int8, u64 UInt64, i128 Int128, u256 UInt256, f32 Float32, f64 Float64, d Decimal(38, 18), s String, fs FixedString(4), day Date, day32 Date32,
at DateTime, berlin DateTime(''Europe/Berlin''), at3 DateTime64(3), at9 DateTime64(9, ''UTC''), b Bool, e Enum8(''a b'' = 1, ''c'' = -2), u UUID, v4 IPv4, v6 IPv6, n Nullable(Int64), lc LowCardinality(Nullable(String)),
a Array(Nullable(UInt64)), m Map(String, Decimal(10, 2)), t Tuple(x Int64, y String), p Tuple(Int64, String), nested Array(Tuple(k String, v DateTime64(3)))',
(-128, 18446744073709551615, '-170141183460469231731687303715884105728', '115792089237316195423570985008687907853269984665640564039457584007913129639935', '3.4028235e38', 1.7976931348623157e308, '99999999999999999999.999999999999999999', unhex('00ff0a225c2f'), unhex('00017f'), '2149-06-06', '1900-01-01',
 '2106-02-07 06:28:15', '2026-10-25 00:30:00', '1970-01-01 00:00:00.001', '2026-01-01 00:00:00.123456789', true, 'a b', '61f0c404-5cb3-11e7-907b-a6006ad3dba0', '255.255.255.255', '2001:db8::1', NULL, NULL,
 [NULL, 18446744073709551615], map('k"', 12345678.90), (9223372036854775807, 'é\t'), (-9223372036854775808, '😀'), [('x', '2026-01-01 00:00:00.999')]),
(0, 0, 0, 0, '-0.1', 5e-324, '-0.000000000000000001', '', '', '1970-01-01', '2299-12-31', '1970-01-01 00:00:00', '2026-03-29 01:30:00', '2200-01-01 00:00:00.100', '1900-01-01 00:00:00', false, 'c', '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::', -1, 'x', [], map(), (0, ''), (0, ''), []),
(1, 1, 1, 1, inf, nan, 1, 'null', 'abcd', '2000-02-29', '2000-02-29', '2000-02-29 23:59:59', '2000-02-29 23:59:59', '1969-12-31 23:59:59.999', '2026-01-01 00:00:00.5', true, 'c', '61f0c404-5cb3-11e7-907b-a6006ad3dba0', '1.2.3.4', '::ffff:1.2.3.4', 0, '', [0], map('', 0), (1, 'a'), (1, 'a'), [('', '1970-01-01 00:00:00.000')]))`
	text := func(table, stages string) string {
		return "pipeline: p\nsource:\n  query:\n    sql: |\n      " + strings.ReplaceAll(values, "\n", "\n      ") + "\n" + stages +
			"load: {table: " + table + ", order_by: tuple()}\nretry: {attempts: 20, backoff: 100ms}\n" // the lease of these tests is short
	}
	for _, p := range []string{text("values_plain", ""), text("values_staged", "stages: [same, same]\n")} {
		if j := stack.Ended(t, submit(t, t.TempDir(), p)); j.State != job.Done || j.Totals.RowsRead != 3 || j.Totals.RowsLoaded != 3 {
			t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
		}
	}
	const all = "SELECT * EXCEPT (_job, _chunk) FROM "
	if want, got := stack.SQL(t, all+"values_plain ORDER BY i8"), stack.SQL(t, all+"values_staged ORDER BY i8"); got != want {
		t.Errorf("with stages there is\n%s\nand without\n%s", got, want)
	}
	if want, got := stack.SQL(t, "DESCRIBE TABLE values_plain"), stack.SQL(t, "DESCRIBE TABLE values_staged"); got != want {
		t.Errorf("with stages the columns are\n%s\nand without\n%s", got, want)
	}
}

// A record that does not parse, one that a stage refuses, one for which it panics
// and one of whose rows does not fit go to quarantine as they stand in the file;
// all others are loaded in the same attempt.
func TestStagesReject(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var csv strings.Builder
	for i := range 300 {
		switch i {
		case 7:
			csv.WriteString("seven,1,x\n")
		case 8:
			csv.WriteString("\"8\",1,\"a \"\"text\"\"\nof two lines\"\n")
		default:
			fmt.Fprintf(&csv, "%d,1,x\n", i)
		}
	}
	write(t, dir, "a.csv", csv.String())
	write(t, dir, "key", "hunter2hunter2")
	text := staged("stages_reject", "path: a.csv, header: false", "id UInt64, n UInt8, s String",
		`[{bad: {fail: {8: 'no "${file:`+dir+`/key}" here', 100: ''}, panic: {9: "oh ${file:`+dir+`/key}"}, set: {11: 300, 13: 2.5, 14: null, 15: "x", 16: "255", 102: 7}}}, times]`,
		"reject: {max: 10}\ntransform: SELECT id, copy, n, throwIf(n = 7 AND copy = 1, 'seven') AS never FROM chunk\n")
	id := submit(t, dir, text)
	j := stack.Ended(t, id)
	if j.State != job.DoneWithRejects || j.Totals.RowsRead != 300 || j.Totals.Redelivered != 0 || j.Totals.Dead != 0 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	want := []string{
		`8|seven,1,x||"seven" is no UInt64|id`,
		"9|\"8\",1,\"a \"\"text\"\"\nof two lines\"||no \"[hidden]\" here|",
		`10|9,1,x||the stage panicked: oh [hidden]|`,
		`12|11,1,x||after the stages: "300" is no UInt8|n`,
		`14|13,1,x||after the stages: "2.5" is no UInt8|n`,
		`15|14,1,x||after the stages: Cannot parse JSON String value here: null`,
		`16|15,1,x||after the stages: "x" is no UInt8|n`,
		`101|100,1,x||the stage gave no reason|`,
		`103|102,1,x||after the stages: seven`,
	}
	rows := rejected(t, id)
	if len(rows) != len(want) || j.Totals.RowsRejected != uint64(len(want)) || j.Proof.Rejected != uint64(len(want)) {
		t.Errorf("%d rows are in quarantine, %d are counted", len(rows), j.Totals.RowsRejected)
	}
	for i, r := range rows {
		at := strings.Index(csv.String(), r.Raw+"\n")
		if got := fmt.Sprintf("%d|%s||%s|%s", r.Record, r.Raw, r.Reason, r.Column); i < len(want) && !strings.HasPrefix(got, want[i]) || r.Offset != int64(at) {
			t.Errorf("a reject at byte %d, not %d, is\n%s, want\n%s", r.Offset, at, got, want[min(i, len(want)-1)])
		}
	}
	bad := "(7, 8, 9, 11, 13, 14, 15, 100, 102)"
	right := stack.SQL(t, "SELECT count(), sum(n), sum(c) FROM (SELECT number AS n, arrayJoin(range(number % 4)) AS c FROM numbers(300) WHERE n NOT IN "+bad+")")
	if got := stack.SQL(t, "SELECT count(), sum(id), sum(copy) FROM stages_reject"); got != right {
		t.Errorf("the table has %q, want %q", got, right)
	}
	if strings.Contains(fmt.Sprint(rows, j), "hunter2") {
		t.Error("a secret is in a record")
	}
}

// More records than the limit are a dead letter, wherever they fail.
func TestStagesTooManyRejects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.csv", "1,1\n2,1\n3,1\n4,1\nx,1\n")
	for n, stages := range []string{"{fail: {1: no}}", "{set: {1: 300}}"} {
		for limit, want := range map[string]job.State{"1": job.Failed, "2": job.DoneWithRejects} {
			id := submit(t, dir, staged(fmt.Sprintf("stages_too_many_%d_%s", n, limit), "path: a.csv, header: false", "id UInt64, n UInt8", "[{bad: "+stages+"}]", "reject: {max: "+limit+"}\n"))
			j := stack.Ended(t, id)
			if j.State != want || want == job.Failed && !strings.Contains(j.Error, "2 of 5 rows were rejected, reject.max allows 1") {
				t.Errorf("%s, limit %s: the job is %s with %+v: %s", stages, limit, j.State, j.Totals, j.Error)
			}
		}
	}
}

// Rows that the engine fetches or reads from a binary file pass the stages too.
// What is refused of them is kept as JSON, which can be replayed.
func TestStagesOverRelations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stack.SQL(t, "INSERT INTO FUNCTION file('"+dir+"/a.parquet') SELECT number AS id, toUInt8(1) AS n, toString(number) AS s FROM numbers(100)")
	for name, from := range map[string]string{
		"generate": "generate: {rows: 100, select: 'number AS id, toUInt8(1) AS n, toString(number) AS s'}\n  rows: 30",
		"parquet":  "files: {path: a.parquet}",
	} {
		table := "stages_" + name
		text := "pipeline: p\nsource:\n  " + from + "\nstages: [{bad: {fail: {3: 'no 3'}, set: {4: 300}}}, times]\n" +
			"outputs:\n- load: {table: " + table + ", order_by: id}\n- transform: SELECT count() AS n, (SELECT max(id) FROM chunk) AS last FROM chunk\n  load: {table: " + table + "_sums, order_by: n}\n"
		id := submit(t, dir, text)
		j := stack.Ended(t, id)
		if j.State != job.DoneWithRejects || j.Totals.RowsRead != 100 || j.Totals.RowsRejected != 1 {
			t.Fatalf("%s: the job is %s with %+v: %s", name, j.State, j.Totals, j.Error)
		}
		if rows := rejected(t, id); len(rows) != 1 || rows[0].Raw != `{"id":"3","n":1,"s":"3"}` || rows[0].Reason != "no 3" || rows[0].Record != 4 {
			t.Errorf("%s: the rejects are %+v", name, rows)
		}
		if got := stack.SQL(t, "SELECT count(), uniqExact(id, copy), countIf(id = 3) FROM "+table); got != "147\t147\t0" {
			t.Errorf("%s: the table has %s", name, got)
		}
		if got := stack.SQL(t, "SELECT sum(n), max(last) FROM "+table+"_sums"); got != "147\t99" {
			t.Errorf("%s: the sums are %s", name, got)
		}
	}
}

// A filter may leave nothing of a chunk, and a file may have nothing.
func TestStagesLeaveNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.csv", "id,n\n1,1\n3,1\n")
	write(t, dir, "b.csv", "id,n\n")
	j := stack.Ended(t, submit(t, dir, staged("stages_nothing", "path: [a.csv, b.csv], header: true", "id UInt64, n UInt8", "[even]", "")))
	if j.State != job.Done || j.Totals.RowsRead != 2 || j.Totals.RowsLoaded != 0 {
		t.Errorf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
}

// A chunk whose rows are too many for a block is cut, or loaded in several.
func TestStagesOfSeveralBlocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var csv strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&csv, "%d,%s\n", i, strings.Repeat("x", 500))
	}
	write(t, dir, "a.csv", csv.String())
	text := staged("stages_blocks", "path: a.csv, header: false", "id UInt64, s String", "[{upper: {column: s}}, times]", "")
	j := stack.Ended(t, submit(t, dir, text))
	if got := stack.SQL(t, "SELECT count(), uniqExact(id, copy), countIf(s != repeat('X', 500)) FROM stages_blocks"); j.State != job.Done || got != "4500\t4500\t0" || j.Totals.RowsRead != 3000 {
		t.Errorf("the table has %s, the job is %s with %+v: %s", got, j.State, j.Totals, j.Error)
	}
	text = "pipeline: p\nsource: {generate: {rows: 3000, select: 'number AS id, repeat(\\'x\\', 500) AS s'}, rows: 3000}\nstages: [times]\nload: {table: stages_spilled, order_by: id}\n"
	text = strings.Replace(strings.Replace(text, `'number`, `"number`, 1), `AS s'`, `AS s"`, 1)
	text = strings.ReplaceAll(text, `\'`, `'`)
	j = stack.Ended(t, submit(t, dir, text))
	if got := stack.SQL(t, "SELECT count(), uniqExact(id, copy) FROM stages_spilled"); j.State != job.Done || got != "4500\t4500" || j.Totals.RowsRead != 3000 {
		t.Errorf("the table has %s, the job is %s with %+v: %s", got, j.State, j.Totals, j.Error)
	}
}

// Mistakes are found when the job is planned, with their place.
func TestStageMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.csv", "1,1\n")
	for name, tt := range map[string]struct{ stages, want string }{
		"unknown":   {"[same, mask_email]", "p.yaml:8:16: stages[1]: mask_email: this dray has no such stage\n  hint: it has bad, even, flaky, movements, same, spell-names, times, upper; stages are compiled in"},
		"settings":  {"[{upper: {colum: n}}]", `stages[0]: upper: reading the settings: json: unknown field "colum"`},
		"no column": {"[same, {upper: {column: s}}]", "stages[1]: upper: there is no column s; there are id, n"},
		"twice":     {"[times, times]", "stages[1]: times: there is a column copy already"},
	} {
		text := staged("stages_mistaken", "path: a.csv, header: false", "id UInt64, n UInt8", tt.stages, "")
		if j := stack.Ended(t, submit(t, dir, text)); j.State != job.Failed || !strings.Contains(j.Error, tt.want) {
			t.Errorf("%s: the job is %s: %s", name, j.State, j.Error)
		}
	}
	// The SELECT sees the columns of the last stage.
	text := staged("stages_mistaken", "path: a.csv, header: false", "id UInt64, n UInt8", "[times]", "transform: SELECT copy, copies FROM chunk\n")
	if j := stack.Ended(t, submit(t, dir, text)); j.State != job.Failed || !strings.Contains(j.Error, "`copies`") {
		t.Errorf("the job is %s: %s", j.State, j.Error)
	}
}

// What a stage refused is loaded from quarantine once the stage was repaired: the
// records of a file as they stood there, and those that have no text as rows.
func TestStagesReplay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var csv strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&csv, "%d,\"a, %d\"\n", i, i)
	}
	write(t, dir, "a.csv", csv.String())
	old := map[string]job.Job{}
	for table, from := range map[string]string{
		"stages_replay_csv":      "files: {path: a.csv, header: false}\n  columns: id UInt64, s String\n  chunk: 4KiB",
		"stages_replay_generate": "generate: {rows: 1000, select: \"number AS id, 'a, ' || toString(number) AS s\"}\n  rows: 300",
	} {
		id := submit(t, dir, "pipeline: p\nsource:\n  "+from+"\nstages: [flaky, {upper: {column: s}}]\nload: {table: "+table+", order_by: id}\n")
		old[table] = stack.Ended(t, id)
		if j := old[table]; j.State != job.DoneWithRejects || j.Totals.RowsRead != 1000 || j.Totals.RowsRejected != 10 {
			t.Fatalf("%s: the job is %s with %+v: %s", table, j.State, j.Totals, j.Error)
		}
	}
	fixed.Store(true)
	for table, j := range old {
		var chunks []uint64
		for _, n := range strings.Fields(stack.SQL(t, "SELECT DISTINCT chunk FROM drayage.rejects WHERE job = '"+j.ID+"' ORDER BY chunk")) {
			chunk, err := strconv.ParseUint(n, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			chunks = append(chunks, chunk)
		}
		sub, err := coordinator.Replay(j, job.ReplayRejects, chunks)
		if err != nil {
			t.Fatal(err)
		}
		if j := stack.Ended(t, stack.Create(t, sub)); j.State != job.Done || j.Totals.RowsRead != 10 || j.Totals.RowsLoaded != 10 {
			t.Fatalf("%s: the job is %s with %+v: %s", table, j.State, j.Totals, j.Error)
		}
		if got := stack.SQL(t, "SELECT count(), uniqExact(id), countIf(s != 'A, ' || toString(id)) FROM "+table); got != "1000\t1000\t0" {
			t.Errorf("%s has %s", table, got)
		}
	}
}
