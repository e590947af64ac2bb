package quarantine

import "drayage/pkg/source"

// Cut gives begin and end of the records of b.
func Cut(format string, b []byte) [][2]int64 {
	var out [][2]int64
	for _, s := range spansOf(format, b) {
		out = append(out, [2]int64{s.start, s.end})
	}
	return out
}

// Broken reports whether a record of b is broken.
func Broken(format string, b []byte) bool {
	for _, s := range spansOf(format, b) {
		if s.broken {
			return true
		}
	}
	return false
}

func spansOf(format string, b []byte) []span {
	w := &work{Request: Request{Input: &source.Input{Format: format}}}
	if !w.fitted() {
		panic("no cutter for " + format)
	}
	return cut(b, w.cutter)
}
