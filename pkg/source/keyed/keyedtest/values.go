package keyedtest

import (
	"math"
	"strconv"
	"strings"
)

// SameFloat reports whether two texts are the same float of so many bits, or both NaN.
func SameFloat(bits int) func(a, b string) bool {
	return func(a, b string) bool {
		x, err1 := strconv.ParseFloat(a, bits)
		y, err2 := strconv.ParseFloat(b, bits)
		return err1 == nil && err2 == nil && (math.Float64bits(x) == math.Float64bits(y) || math.IsNaN(x) && math.IsNaN(y))
	}
}

// SameNumber reports whether a number of the server, which may have zeros at the
// end of its fraction, is that of ClickHouse, which has none.
func SameNumber(server, ch string) bool { return trimmed(server) == ch }

// SameTime reports whether two times are the same but for such zeros.
func SameTime(a, b string) bool { return trimmed(a) == trimmed(b) }

func trimmed(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	return s
}
