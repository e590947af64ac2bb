package relation

import (
	"fmt"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
	"drayage/pkg/testkit"
)

// eng is the real engine that the tests of the package share.
var eng *engine.Client

func TestMain(m *testing.M) {
	testkit.WithEngine(m, func(c *engine.Client) { eng = c })
}

func TestSuite(t *testing.T) {
	var numbers, tenants []string
	for i := range 1000 {
		numbers = append(numbers, fmt.Sprintf(`[%d,"%d"]`, i, i%7))
	}
	for _, tenant := range []string{"a", "b", "c"} {
		for i := range 10 {
			tenants = append(tenants, fmt.Sprintf(`["%s",%d]`, tenant, i))
		}
	}
	for name, c := range map[string]struct {
		sourcetest.Case
		make func() (*Source, error)
	}{
		"range": {sourcetest.Case{Want: numbers, Chunks: 34}, func() (*Source, error) {
			return New(Config{SQL: "SELECT number AS id, toString(number % 7) AS s FROM numbers({from}, {to} - {from})", Range: &Range{"0", "1000", 30}})
		}},
		"values": {sourcetest.Case{Want: tenants, Chunks: 3, Uncut: true}, func() (*Source, error) {
			return New(Config{SQL: "SELECT '{value}' AS tenant, number AS n FROM numbers(10)", Values: []string{"a", "b", "c"}})
		}},
		"generate": {sourcetest.Case{Want: numbers, Chunks: 10}, func() (*Source, error) {
			return Generate(GenerateConfig{Rows: 1000, Select: "number AS id, toString(number % 7) AS s", ChunkRows: 100})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.New, c.Engine = func() (source.Source, error) { return c.make() }, eng
			sourcetest.Run(t, c.Case)
		})
	}
}
