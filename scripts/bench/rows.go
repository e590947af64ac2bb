package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

// The table of the benchmark: 8 columns, about 90 bytes of CSV a row, with a
// quoted column, a nullable one and values of different frequency, as web
// events have them.
const (
	structure = "event_id UInt64, at DateTime('UTC'), user_id UInt32, country String, path String, agent String, ms Float64, amount String"
	// sel is the transformation, the same for both sides.
	sel = `SELECT
  event_id,
  at,
  user_id,
  toLowCardinality(country) AS country,
  path,
  toLowCardinality(agent) AS agent,
  ms,
  toDecimal64OrNull(amount, 2) AS amount`
	columns   = "event_id UInt64, at DateTime('UTC'), user_id UInt32, country LowCardinality(String), path String, agent LowCardinality(String), ms Float64, amount Nullable(Decimal(18, 2))"
	engineSQL = "ENGINE = MergeTree ORDER BY (country, at)"
)

var (
	countries = []string{"US", "DE", "IN", "BR", "GB", "FR", "JP", "CA", "NL", "SE", "PL", "ES", "IT", "MX", "AU"}
	sections  = []string{"products", "search", "cart", "account", "blog", "help", "orders", "reviews"}
	agents    = []string{
		"Mozilla/5.0, Chrome/126", "Mozilla/5.0, Firefox/128", "Mozilla/5.0, Safari/17", "curl/8.5", `app "android" 5.2`, `app "ios" 5.2`,
	}
)

// generate writes n rows to path. The same n gives the same bytes.
func generate(path string, n int) error {
	temporary := path + ".part"
	f, err := os.Create(temporary)
	if err != nil {
		return fmt.Errorf("making the rows: %w", err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	row := make([]byte, 0, 256)
	if _, err := w.WriteString("event_id,at,user_id,country,path,agent,ms,amount\n"); err != nil {
		return fmt.Errorf("writing the rows: %w", err)
	}
	for i := range n {
		row = strconv.AppendUint(row[:0], uint64(i), 10)
		row = append(row, ',')
		row = time.Unix(start+int64(i/20), 0).UTC().AppendFormat(row, time.DateTime)
		row = append(row, ',')
		row = strconv.AppendUint(row, uint64(r.Uint32N(2_000_000)), 10)
		row = append(row, ',')
		row = append(row, countries[min(r.IntN(len(countries)), r.IntN(len(countries)))]...)
		row = append(row, ",/"...)
		row = append(row, sections[r.IntN(len(sections))]...)
		row = append(row, '/')
		row = strconv.AppendUint(row, uint64(r.Uint32N(100_000)), 10)
		row = append(row, `,"`...)
		for _, c := range []byte(agents[r.IntN(len(agents))]) {
			if c == '"' {
				row = append(row, '"')
			}
			row = append(row, c)
		}
		row = append(row, `",`...)
		row = strconv.AppendFloat(row, r.ExpFloat64()*80, 'f', 3, 64)
		row = append(row, ',')
		if r.IntN(4) == 0 {
			row = strconv.AppendFloat(row, r.Float64()*500, 'f', 2, 64)
		}
		row = append(row, '\n')
		if _, err := w.Write(row); err != nil {
			return fmt.Errorf("writing the rows: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the rows: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing the rows: %w", err)
	}
	return os.Rename(temporary, path)
}
