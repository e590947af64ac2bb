package clickhouse

import (
	"context"
	"fmt"
	"strings"

	"drayage/pkg/job"
)

// Difference is in what an output and a table differ. The zero value is none.
type Difference struct {
	Table Table
	// Added are columns of the output that the table does not have.
	Added []job.Column
	// Missing are columns of the table that could be filled and that the
	// output lacks; the provenance columns are not among them.
	Missing []Column
	// TypeChanges are columns of which the table's type can not hold every
	// value of the output's.
	TypeChanges []TypeDifference

	keys map[string]string // of the columns in TypeChanges, the key they are in
}

// None reports whether there is no difference.
func (d Difference) None() bool {
	return len(d.Added)+len(d.Missing)+len(d.TypeChanges) == 0
}

// String lists the difference, a line each, as what would have to become of
// the table: "+ column Type", "- column Type" and "~ column From → To".
func (d Difference) String() string {
	var lines []string
	for _, c := range d.Added {
		lines = append(lines, "+ "+plainOrQuoted(c.Name)+" "+c.Type)
	}
	for _, c := range d.Missing {
		lines = append(lines, "- "+plainOrQuoted(c.Name)+" "+c.Type)
	}
	for _, c := range d.TypeChanges {
		lines = append(lines, "~ "+plainOrQuoted(c.Column)+" "+c.Table+" → "+c.Output)
	}
	return strings.Join(lines, "\n")
}

// TypeChangeError is a column whose type would have to change, which is never
// done by itself. Its class is job.Permanent.
type TypeChangeError struct {
	Table  Table
	Change TypeDifference
	// Key is the key of the table that the column is in: partition, primary,
	// sorting or sampling; "" when it is in none.
	Key string
}

func (e *TypeChangeError) Error() string {
	c := e.Change
	text := fmt.Sprintf("column %s of table %s is %s, and can not hold every %s of the output: ", quoteName(c.Column), e.Table, c.Table, c.Output)
	if e.Key != "" {
		return text + fmt.Sprintf("it is in the %s key, so that its type can not be changed; convert it in the SELECT, or make a new table, fill it with INSERT INTO … SELECT, and EXCHANGE TABLES", e.Key)
	}
	return text + fmt.Sprintf("convert it in the SELECT, or change it by hand, which rewrites the column: ALTER TABLE %s MODIFY COLUMN %s %s", e.Table.SQL(), quoteName(c.Column), c.Output)
}

// Refused returns what of the difference is never done by itself: a
// *TypeChangeError for the first change of a type, of a key if there is one.
func (d Difference) Refused() error {
	var first *TypeChangeError
	for _, change := range d.TypeChanges {
		e := &TypeChangeError{d.Table, change, d.keys[change.Column]}
		if first == nil || first.Key == "" && e.Key != "" {
			first = e
		}
	}
	if first == nil {
		return nil
	}
	return job.WithClass(fmt.Errorf("changing table %s: %w", d.Table, first), job.Permanent)
}

// Compare tells in what an output and a table, as it was described, differ. A
// type is a change only when the table's can not hold every value of the
// output's: the server is asked, as CheckTarget does. Nothing is changed.
func (c *Client) Compare(ctx context.Context, info TableInfo, out []job.Column) (Difference, error) {
	what := "comparing the output with table " + info.Table.String()
	d := Difference{Table: info.Table, keys: map[string]string{}}
	given := map[string]bool{job.JobColumn: true, job.ChunkColumn: true}
	for _, o := range out {
		if given[o.Name] {
			continue
		}
		given[o.Name] = true
		col := info.Column(o.Name)
		if col == nil {
			d.Added = append(d.Added, o)
			continue
		}
		fits, err := c.fits(ctx, what, o.Type, col.Type)
		if err != nil {
			return Difference{}, err
		}
		if !fits {
			d.TypeChanges = append(d.TypeChanges, TypeDifference{o.Name, o.Type, col.Type})
			d.keys[o.Name] = col.Key
		}
	}
	for _, col := range info.Columns {
		if !given[col.Name] && col.insertable() {
			d.Missing = append(d.Missing, col)
		}
	}
	return d, nil
}

// AddColumns adds columns to a table, on all servers of a cluster when it is
// not "", and returns what the table is like then. Rows that are there read as
// the default of the type. It may be called again at any time, and by any
// number of callers at once: a column that is there already is left alone, and
// it is a *TypeChangeError when its type can not hold what was to be added.
// When it returns nil, the server that was asked has the columns; replicas
// that are away follow.
func (c *Client) AddColumns(ctx context.Context, t Table, columns []job.Column, cluster string) (TableInfo, error) {
	t = c.qualify(t)
	if len(columns) > 0 {
		if err := c.exec(ctx, "adding columns to table "+t.String(), "", addColumns(t, columns, cluster)); err != nil {
			return TableInfo{}, err
		}
	}
	info, err := c.Describe(ctx, t)
	if err != nil {
		return TableInfo{}, err
	}
	d, err := c.Compare(ctx, info, columns)
	if err != nil {
		return TableInfo{}, err
	}
	if len(d.Added) > 0 {
		return TableInfo{}, job.WithClass(fmt.Errorf("adding columns to table %s: they are not there yet:\n%s", t, d), job.Retry)
	}
	return info, d.Refused()
}

// addColumns is the statement, which waits for the server that is asked and
// not for replicas that may be away.
func addColumns(t Table, columns []job.Column, cluster string) string {
	var b strings.Builder
	b.WriteString("ALTER TABLE " + t.SQL() + onCluster(cluster))
	for i, col := range columns {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" ADD COLUMN IF NOT EXISTS " + quoteName(col.Name) + " " + col.Type)
	}
	return b.String() + " SETTINGS alter_sync = 1"
}
