package chaos

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// check compares everything that there is with what the oracle knows.
type check struct {
	f      *fleet
	report *Report
	source map[viewKey][2]int64 // what the view's source holds: rows, and their sum
	failed map[int]bool         // jobs that FAILED as unrepairable says
}

// viewKey is what the view groups by.
type viewKey struct {
	job   int
	group uint8
}

// jobs checks one job after the other.
func (c *check) jobs(ctx context.Context, all []watched) error {
	c.source, c.failed = map[viewKey][2]int64{}, map[int]bool{}
	var most, bound uint64
	for _, j := range all {
		if err := c.job(ctx, j); err != nil {
			return fmt.Errorf("checking job %s: %w", j.id, err)
		}
		if limit := uint64(j.flight); bound == 0 || j.inFlight*bound > most*limit { //nolint:gosec // small
			most, bound = j.inFlight, limit
		}
	}
	c.report.InFlight = fmt.Sprintf("at most %d of %d", most, bound)
	return c.views(ctx)
}

func (c *check) job(ctx context.Context, j watched) error {
	r, state := c.report, j.record.State
	if state == "" {
		state = "never recorded"
	}
	r.Jobs[string(state)]++
	switch {
	case !state.Terminal():
		r.complain(Ends, "job %s is %s; submitted %s", j.id, state, j.submitted.UTC().Format("15:04:05"))
	case c.unrepairable(j):
		c.failed[j.n] = true
		r.Unrepaired = append(r.Unrepaired, j.id+": "+j.record.Error)
		return nil
	case state == job.Failed:
		r.complain(Ends, "job %s FAILED: %s", j.id, j.record.Error)
	case state == job.Cancelled && !j.askedFor:
		r.complain(Ends, "job %s is CANCELLED and nobody asked for it", j.id)
	}
	t, err := j.count(ctx, c.f.holders(j.spec))
	if err != nil {
		return err
	}
	if j.view {
		for group, sums := range t.sums {
			c.source[viewKey{j.n, group}] = sums
		}
	}
	if slack := max(2, j.flight/2); j.inFlight > uint64(j.flight+slack) { //nolint:gosec // small
		r.complain(InFlight, "job %s had %d chunks in flight, %d are allowed", j.id, j.inFlight, j.flight)
	}
	r.Found += uint64(t.rows) //nolint:gosec // a count
	r.Chunks += j.record.Totals.Chunks
	r.Replaced += j.record.Plan.Replacements()
	r.Redeliver += j.record.Totals.Redelivered
	r.Repairs += j.record.Repairs
	for _, wrong := range t.wrong {
		r.complain(Rows, "job %s, table %s: %s", j.id, j.table, wrong)
	}
	c.then(j, t)
	if state != job.Done && state != job.DoneWithRejects {
		c.once(j, t)
		return nil
	}
	dead, err := c.outcomes(ctx, j, t)
	if err != nil {
		return err
	}
	rejected, err := c.rejected(ctx, j)
	if err != nil {
		return err
	}
	c.everyRow(j, t, dead, rejected)
	c.outputs(j, t)
	return nil
}

// outputs compares what the second output of a job added up with the rows of
// the first.
func (c *check) outputs(j watched, t *tally) {
	if j.fan && !maps.Equal(t.sums, t.added) {
		c.report.complain(Outputs, "job %s: %s has %d groups of %v, the rows of %s make %d of %v", j.id, j.sumsTable(), len(t.added), all(t.added), j.table, len(t.sums), all(t.sums))
	}
}

// all adds up the groups.
func all(sums map[uint8][2]int64) (total [2]int64) {
	for _, s := range sums {
		total[0] += s[0]
		total[1] += s[1]
	}
	return total
}

// unrepairable says that the job FAILED because its target feeds a view.
// ClickHouse writes the token of a part and the part itself one after the
// other, so that a kill in between loses the part or makes room for a second
// one. Drayage finds that out and replaces the chunk, but what a view was fed
// can not be taken back: then the job says so and is FAILED. That is not a
// broken promise, as long as ClickHouse was killed and the record names the
// chunks.
func (c *check) unrepairable(j watched) bool {
	p := j.record.Proof
	return j.record.State == job.Failed && j.view && j.record.Frozen != nil && j.record.Frozen.Views &&
		p != nil && len(p.Differ) > 0 && c.report.Faults[KillClickHouse]+c.report.Faults[RestartAll] > 0
}

// then compares the target with what it was when the job was seen to end.
func (c *check) then(j watched, now *tally) {
	if !j.record.State.Terminal() || j.record.State == job.Failed {
		return
	}
	i, state := NotEarly, j.record.State
	if state == job.Cancelled {
		i = NoneLater
	}
	if j.atEnd == nil {
		c.report.complain(i, "job %s: its rows could not be read when it was %s", j.id, state)
		return
	}
	later, gone := 0, 0
	for at := range now.seen {
		d := int(now.seen[at]) - int(j.atEnd.seen[at])
		later, gone = later+max(d, 0), gone+max(-d, 0)
	}
	if later > 0 || gone > 0 {
		c.report.complain(i, "job %s had %d rows when it was seen to be %s; since then %d landed and %d went", j.id, j.atEnd.rows, state, later, gone)
	}
}

// once checks that no row is there twice, of a job that was not finished.
func (c *check) once(j watched, t *tally) {
	twice := 0
	for _, n := range t.seen {
		if n > 1 {
			twice++
		}
	}
	if twice > 0 {
		c.report.Twice += uint64(twice) //nolint:gosec // a count
		c.report.complain(Rows, "job %s is %s and has %d rows more than once", j.id, j.record.State, twice)
	}
}

// outcomes checks that every chunk ended in exactly one way, and returns the
// dead letters of those that have no result.
func (c *check) outcomes(ctx context.Context, j watched, t *tally) ([]job.Dead, error) {
	r := c.report
	results, err := c.f.results(ctx, j.id)
	if err != nil {
		return nil, err
	}
	letters, err := c.f.queue.DeadLetters(ctx, j.id, 0)
	if err != nil {
		return nil, err
	}
	loaded := map[uint64]int{}
	var rows uint64
	for _, res := range results {
		if !res.Loaded() || j.record.Plan.Retired(res.Chunk) {
			continue
		}
		loaded[res.Chunk]++
		rows += res.RowsLoaded
		if res.Recovered {
			r.Recovered++
		}
	}
	var dead []job.Dead
	isDead := map[uint64]bool{}
	for _, d := range letters {
		if loaded[d.Chunk.Ordinal] == 0 && !j.record.Plan.Retired(d.Chunk.Ordinal) {
			dead = append(dead, d)
			isDead[d.Chunk.Ordinal] = true
		}
	}
	r.Dead += len(dead)
	ends := func(chunk uint64) {
		n := loaded[chunk]
		if isDead[chunk] || j.record.Plan.Retired(chunk) {
			n++
		}
		if n != 1 {
			r.complain(OneResult, "chunk %d of job %s ended %d times: %d results, dead %v", chunk, j.id, n, loaded[chunk], isDead[chunk])
		}
	}
	for chunk := range j.record.Plan.Chunks {
		ends(chunk)
	}
	for chunk := range j.record.Plan.Replacements() {
		ends(job.FirstReplacement + chunk)
	}
	if extra := uint64(len(loaded)); extra > j.record.Plan.Total() {
		r.complain(OneResult, "job %s has results of %d chunks and planned %d", j.id, extra, j.record.Plan.Total())
	}
	found := uint64(t.rows + t.others) //nolint:gosec // a count
	if rows != found || j.record.Totals.RowsLoaded != found {
		r.complain(OneResult, "job %s: the results say %d rows, the record %d, and there are %d", j.id, rows, j.record.Totals.RowsLoaded, found)
	}
	if (j.record.State == job.Done) != (len(dead) == 0 && j.record.Totals.RowsRejected == 0) {
		r.complain(OneResult, "job %s is %s with %d dead letters and %d rejects", j.id, j.record.State, len(dead), j.record.Totals.RowsRejected)
	}
	return dead, nil
}

// rejected are the rows of the job in quarantine, each once however many of
// its values did not fit.
func (c *check) rejected(ctx context.Context, j watched) (map[uint64]int, error) {
	if j.bad == 0 {
		return nil, nil
	}
	out := &buffer{}
	err := c.f.sql.Query(ctx, "SELECT chunk, any(raw) AS raw FROM "+clickhouse.RejectsTable.SQL()+
		" WHERE job = '"+j.id+"' GROUP BY chunk, record", "JSONEachRow", out)
	if err != nil {
		return nil, err
	}
	found := map[uint64]int{}
	for line := range strings.Lines(string(*out)) {
		var record struct {
			Chunk json.Number `json:"chunk"`
			Raw   string      `json:"raw"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			return nil, err
		}
		chunk, err := record.Chunk.Int64()
		if err != nil {
			return nil, err
		}
		if j.record.Plan.Retired(uint64(chunk)) { //nolint:gosec // an ordinal
			continue
		}
		id, err := j.rawID(record.Raw)
		if err != nil {
			c.report.complain(Rows, "job %s: a record in quarantine can not be read: %q", j.id, record.Raw)
			continue
		}
		found[id]++
	}
	return found, nil
}

// rawID is the id of a record in quarantine.
func (s spec) rawID(raw string) (uint64, error) {
	if s.format == lineJSON {
		var r struct {
			ID uint64 `json:"id"`
		}
		return r.ID, json.Unmarshal([]byte(raw), &r)
	}
	fields, err := csv.NewReader(strings.NewReader(raw)).Read()
	if err != nil {
		return 0, err
	}
	var id uint64
	_, err = fmt.Sscan(fields[0], &id)
	return id, err
}

// everyRow checks that each row of the sources is in exactly one place.
func (c *check) everyRow(j watched, t *tally, dead []job.Dead, rejected map[uint64]int) {
	r := c.report
	lost := map[uint64]int{}
	for _, d := range dead {
		ids, err := j.idsIn(d.Chunk.Input)
		if err != nil {
			r.complain(Rows, "job %s: what dead chunk %d was can not be told: %v", j.id, d.Chunk.Ordinal, err)
		}
		for _, id := range ids {
			lost[id]++
		}
	}
	var missing, twice []uint64
	for at, n := range t.seen {
		id := j.first() + uint64(at) //nolint:gosec // an index
		places := int(n) + lost[id] + rejected[id]
		r.Rejected += uint64(rejected[id]) //nolint:gosec // a count
		if filtered(id) {
			// Left out, unless it could not even be read.
			if rejected[id] > 1 || rejected[id] > 0 && !j.isBad(id) {
				twice = append(twice, id)
			}
			continue
		}
		r.Expected++
		r.Lost += uint64(lost[id]) //nolint:gosec // a count
		switch {
		case places == 0:
			missing = append(missing, id)
		case places > 1:
			twice = append(twice, id)
		}
		if rejected[id] > 0 && !j.isBad(id) {
			r.complain(Rows, "job %s: row %d is in quarantine and there is nothing wrong with it", j.id, id)
		}
	}
	r.Missing += uint64(len(missing))
	r.Twice += uint64(len(twice))
	if len(missing) > 0 {
		r.complain(Rows, "job %s (%s, %s): %d rows are nowhere: %s", j.id, j.record.State, j.format, len(missing), some(missing))
	}
	if len(twice) > 0 {
		r.complain(Rows, "job %s (%s, %s): %d rows are there more than once: %s", j.id, j.record.State, j.format, len(twice), some(twice))
	}
}

func some(ids []uint64) string {
	text := fmt.Sprint(ids[:min(len(ids), maxTold)])
	if len(ids) > maxTold {
		text += " …"
	}
	return text
}

// maxVerified bounds the jobs whose proof is repeated by the command line.
const maxVerified = 25

// verify lets dray repeat its own proof, which must agree with the oracle's.
func (c *check) verify(ctx context.Context, all []watched) {
	for n, j := range all {
		if n == maxVerified {
			return
		}
		if j.record.State != job.Done && j.record.State != job.DoneWithRejects {
			continue
		}
		if out, err := c.f.dray(ctx, "verify", j.id); err != nil {
			c.report.complain(OneResult, "dray verify %s: %v: %s", j.id, err, out)
		}
	}
}

// views compares the view with the rows that are in its source.
func (c *check) views(ctx context.Context) error {
	out := &buffer{}
	if err := c.f.sql.Query(ctx, "SELECT job, grp, sum(n), sum(total) FROM "+database+".sums GROUP BY job, grp ORDER BY job, grp", "TabSeparated", out); err != nil {
		return fmt.Errorf("reading the view: %w", err)
	}
	return c.compare(string(*out))
}

// compare compares the rows of the view, a line each, with its source.
func (c *check) compare(view string) error {
	left := maps.Clone(c.source)
	for line := range strings.Lines(view) {
		var key viewKey
		var sums [2]int64
		if _, err := fmt.Sscan(line, &key.job, &key.group, &sums[0], &sums[1]); err != nil {
			return fmt.Errorf("reading the view: %w", err)
		}
		if c.failed[key.job] {
			continue
		}
		if want := c.source[key]; sums != want {
			c.report.complain(Views, "job %d, group %d: the view has %d rows with sum %d, its source %d rows with sum %d", key.job, key.group, sums[0], sums[1], want[0], want[1])
		}
		delete(left, key)
	}
	if len(left) > 0 {
		c.report.complain(Views, "the view has nothing of %d groups of its source", len(left))
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
