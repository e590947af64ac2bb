package clickhouse

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"
)

// Right is something that Drayage must be allowed to do.
type Right struct {
	Name string // what GRANT calls it, with where
	For  string // what for
	Err  error  // why it can not be done; nil: it can
}

// Missing reports whether the right is not granted, as against a statement that
// failed for another reason.
func (r Right) Missing() bool {
	var x *Exception
	return errors.As(r.Err, &x) && x.Code == codeAccessDenied
}

// Rights tries everything that Drayage does to tables, on two scratch tables in
// the database of the URL that it drops again, and returns each with its outcome.
func (c *Client) Rights(ctx context.Context) []Right {
	base := "dray_doctor_" + strings.ToLower(rand.Text()[:12])
	a, b := Table{c.end.database, base + "_a"}.SQL(), Table{c.end.database, base + "_b"}.SQL()
	on := " ON " + c.end.database + ".*"
	create := " (id UInt64) ENGINE = MergeTree PARTITION BY id % 2 ORDER BY id SETTINGS non_replicated_deduplication_window = 100"
	var all []Right
	made := false
	for _, try := range []struct{ name, why, sql string }{
		{"CREATE DATABASE ON " + LedgerTable.Database + ".*", "the ledger and the quarantine", "CREATE DATABASE IF NOT EXISTS " + LedgerTable.Database},
		{"CREATE TABLE" + on, "targets, staging tables and lookups", "CREATE TABLE " + a + create},
		{"INSERT" + on, "loading", "INSERT INTO " + a + " SELECT 1"},
		{"SELECT" + on, "counting the rows of each chunk", "SELECT count() FROM " + a},
		{"ALTER ADD COLUMN" + on, "_job and _chunk, and load.evolve", "ALTER TABLE " + a + " ADD COLUMN more UInt8"},
		{"ALTER SETTINGS" + on, "a deduplication window that is wide enough", "ALTER TABLE " + a + " MODIFY SETTING non_replicated_deduplication_window = 200"},
		{"ALTER DELETE" + on, "repair and undo", "ALTER TABLE " + a + " DELETE WHERE id = 1 SETTINGS mutations_sync = 1"},
		{"CREATE TABLE" + on, "staging tables", "CREATE TABLE " + b + " AS " + a},
		{"INSERT" + on, "staging tables", "INSERT INTO " + b + " (id) SELECT 1"},
		{"INSERT and ALTER DELETE" + on, "load.mode partitions", "ALTER TABLE " + a + " REPLACE PARTITION 1 FROM " + b},
		{"TRUNCATE" + on, "staging tables that are begun again", "TRUNCATE TABLE " + b},
		{"SELECT ON system.*", "looking at tables, parts, mutations and running INSERTs", "SELECT 1 FROM system.tables, system.columns, system.parts, system.mutations, system.processes LIMIT 0"},
		{"KILL QUERY ON *.*", "ending INSERTs of a cancelled job", "KILL QUERY WHERE query_id = '" + base + "' ASYNC"},
		{"DROP TABLE" + on, "staging tables", "DROP TABLE " + b},
		{"DROP TABLE" + on, "staging tables", "DROP TABLE " + a},
	} {
		err := c.exec(ctx, "trying "+try.name, "", try.sql)
		switch {
		case try.sql == "CREATE TABLE "+a+create:
			made = err == nil
		case !made && strings.Contains(try.sql, a), !made && strings.Contains(try.sql, b):
			continue // it could not even be tried
		}
		if len(all) > 0 && all[len(all)-1].Name == try.name && all[len(all)-1].Err == nil && err == nil {
			continue
		}
		all = append(all, Right{try.name, try.why, err})
	}
	return all
}

// Deduplicates loads one block twice under one token into a scratch table, as a
// retry does, and reports whether it is there once.
func (c *Client) Deduplicates(ctx context.Context) (bool, error) {
	table := Table{c.end.database, "dray_doctor_" + strings.ToLower(rand.Text()[:12])}.SQL()
	const what = "trying deduplication"
	if err := c.exec(ctx, what, "", "CREATE TABLE "+table+" (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100"); err != nil {
		return false, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.end.read)
		defer cancel()
		_ = c.exec(ctx, what, "", "DROP TABLE "+table) // Rights says when that is not allowed
	}()
	for range 2 {
		if err := c.exec(ctx, what, "", "INSERT INTO "+table+" SETTINGS async_insert = 0, insert_deduplicate = 1, insert_deduplication_token = 'doctor' VALUES (1)"); err != nil {
			return false, err
		}
	}
	var n uint64
	err := c.rows(ctx, what, "SELECT count() FROM "+table, func(scan scanner) error { return scan(&n) })
	return n == 1, err
}

// Skew is how much the server's clock is ahead of ours, to about the time of an
// answer.
func (c *Client) Skew(ctx context.Context) (time.Duration, error) {
	asked := time.Now()
	var ms int64
	err := c.rows(ctx, "asking for the time", "SELECT toUnixTimestamp64Milli(now64(3))", func(scan scanner) error { return scan(&ms) })
	return time.UnixMilli(ms).Sub(asked.Add(time.Since(asked) / 2)), err
}
