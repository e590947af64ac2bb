package chaos

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"drayage/pkg/clickhouse"
)

// tally is what was found in a target, of one job's rows.
type tally struct {
	rows  int
	seen  []uint8            // how often each row is there, at most 255
	wrong []string           // rows that are there and should not be as they are; at most a few
	sums  map[uint8][2]int64 // group -> rows, sum of doubled
	// Of a second output: its rows, and the same sums by them.
	others int
	added  map[uint8][2]int64
}

// unknownTable is ClickHouse's code for a table that is not there.
const unknownTable = 60

// maxTold bounds the examples in a complaint.
const maxTold = 5

func newTally(s spec) *tally {
	return &tally{seen: make([]uint8, s.rows), sums: map[uint8][2]int64{}, added: map[uint8][2]int64{}}
}

// count reads every row of the job from its target, from each of the servers that
// hold it.
func (s spec) count(ctx context.Context, holders []*clickhouse.Client) (*tally, error) {
	t := newTally(s)
	for i, sql := range holders {
		there, err := t.read(ctx, s, sql)
		if err != nil {
			return nil, fmt.Errorf("reading the rows of %s: %w", s.id, err)
		}
		if !there {
			continue // its job never came so far
		}
		if s.shards > 0 {
			if err := t.strayed(ctx, s, sql, i); err != nil {
				return nil, fmt.Errorf("reading the shards of %s: %w", s.id, err)
			}
		}
		if err := t.countSums(ctx, s, sql); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// read reads every row of the job on one server. It is false where there is no
// table.
func (t *tally) read(ctx context.Context, s spec, sql *clickhouse.Client) (there bool, err error) {
	pr, pw := io.Pipe()
	go func() {
		query := fmt.Sprintf("SELECT id, grp, doubled, note FROM %s.%s WHERE id >= %d AND id < %d",
			database, s.table, s.first(), s.first()+idsPerJob)
		pw.CloseWithError(sql.Query(ctx, query, "RowBinary", pw))
	}()
	defer func() { _ = pr.Close() }()
	in := bufio.NewReaderSize(pr, 1<<16)
	for {
		r, err := readRow(in)
		if atEnd(err) {
			return true, nil
		}
		if isAbsent(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		t.add(s, r)
	}
}

// strayed looks for chunks on a shard, from 0, that are another's.
func (t *tally) strayed(ctx context.Context, s spec, sql *clickhouse.Client, shard int) error {
	out := &buffer{}
	err := sql.Query(ctx, fmt.Sprintf("SELECT toString(groupUniqArray(%d)(_chunk)) FROM %s.%s WHERE _job = '%s' AND _chunk %% %d != %d",
		maxTold, database, s.table, s.id, s.shards, shard), "TabSeparated", out)
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(*out)); text != "[]" {
		t.wrong = append(t.wrong, fmt.Sprintf("shard %d has chunks of another: %s", shard, text))
	}
	return nil
}

// countSums reads what the second output of the job has.
func (t *tally) countSums(ctx context.Context, s spec, sql *clickhouse.Client) error {
	if !s.fan {
		return nil
	}
	out := &buffer{}
	err := sql.Query(ctx, fmt.Sprintf("SELECT grp, toInt64(count()), toInt64(sum(n)), sum(total), 'label=' || label FROM %s.%s GROUP BY grp, label", database, s.sumsTable()), "TabSeparated", out)
	if isAbsent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the sums of %s: %w", s.id, err)
	}
	for line := range strings.Lines(string(*out)) {
		numbers, label, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\tlabel=")
		var grp uint8
		var rows, n, total int64
		if _, err := fmt.Sscan(numbers, &grp, &rows, &n, &total); err != nil {
			return fmt.Errorf("reading the sums of %s: %w", s.id, err)
		}
		if label != labelOf(grp) {
			t.wrong = append(t.wrong, fmt.Sprintf("group %d has the label %q", grp, label))
		}
		t.others += int(rows)
		t.added[grp] = [2]int64{n, total}
	}
	return nil
}

// isAbsent says that a table is not there.
func isAbsent(err error) bool {
	var x *clickhouse.Exception
	return errors.As(err, &x) && x.Code == unknownTable
}

func (t *tally) add(s spec, r row) {
	t.rows++
	group := t.sums[r.Grp]
	t.sums[r.Grp] = [2]int64{group[0] + 1, group[1] + r.Amount}
	want := rowOf(r.ID)
	want.Amount *= 2
	at := r.ID - s.first()
	bad := ""
	switch {
	case at >= uint64(len(t.seen)):
		bad = "is in no source"
	case filtered(r.ID):
		bad = "should have been left out"
	case s.isBad(r.ID):
		bad = "does not fit its columns"
	case r != want:
		bad = fmt.Sprintf("should be %+v", want)
	}
	if bad != "" && len(t.wrong) < maxTold {
		t.wrong = append(t.wrong, fmt.Sprintf("row %+v %s", r, bad))
	}
	if at < uint64(len(t.seen)) && t.seen[at] < 255 {
		t.seen[at]++
	}
}

// atEnd reports whether all was read. The error of a connection that broke off
// has an io.EOF within, and is not the end.
func atEnd(err error) bool { return err == io.EOF } //nolint:errorlint // see above

// readRow reads a row in RowBinary. io.EOF only before a row.
func readRow(in *bufio.Reader) (row, error) {
	var fixed [17]byte
	if _, err := io.ReadFull(in, fixed[:]); err != nil {
		return row{}, err
	}
	r := row{
		ID: binary.LittleEndian.Uint64(fixed[:8]), Grp: fixed[8],
		Amount: int64(binary.LittleEndian.Uint64(fixed[9:])), //nolint:gosec // two's complement
	}
	n, err := binary.ReadUvarint(in)
	if err == nil && n > 1<<20 {
		err = fmt.Errorf("a note of %d bytes", n)
	}
	if err == nil {
		note := make([]byte, n)
		_, err = io.ReadFull(in, note)
		r.Note = string(note)
	}
	if err != nil {
		return row{}, fmt.Errorf("in the middle of a row: %v", err) //nolint:errorlint // it must not pass for the end
	}
	return r, nil
}
