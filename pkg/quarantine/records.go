package quarantine

// span is where a record is in the spool.
type span struct {
	start, end int64  // the record, without what separates it from the next
	doubt      string // why it may be no record; empty: it looks like one
	broken     bool   // it is none, though the engine may read it as one
}

// cutter finds the records of a format.
type cutter interface {
	// next returns the record that begins at or after at, and where to look
	// for the one after it; ok is false when there is none. It moves forward
	// at every call.
	next(b []byte, at int) (s span, after int, ok bool)
}

// cut finds all records of b.
func cut(b []byte, c cutter) []span {
	var all []span
	for at := 0; at < len(b); {
		s, after, ok := c.next(b, at)
		if !ok {
			break
		}
		all = append(all, s)
		at = after
	}
	return all
}

// line is the end of the line that begins at b[at], and the begin of the next.
func line(b []byte, at int) (end, after int) {
	for i := at; i < len(b); i++ {
		if b[i] == '\n' {
			return i, i + 1
		}
	}
	return len(b), len(b)
}

// rescans bounds what a cutter reads twice because a record did not end, in
// multiples of the input. Beyond it every line is a record.
const rescans = 16
