package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"

	"drayage/pkg/job"
	"drayage/pkg/source/files/borders"
)

// Bounds of Multiline.Max, in bytes. The default is as much as quarantine keeps
// of a record (job.MaxRaw).
const (
	DefaultMultilineMax = 1 << 20
	MaxMultilineMax     = 64 << 20
)

// Multiline says how lines are put together to records.
type Multiline struct {
	// Begin matches the line that begins a record (a regular expression of Go,
	// anchored only where it says so); the lines after it that it does not match
	// belong to the record. No more than borders.MaxBegin bytes of a line are
	// looked at. Lines before the first that matches are a record too.
	Begin string
	// Max is the length of the longest record that is read; a longer one is a
	// permanent error of its chunk. 0 is DefaultMultilineMax.
	Max int64
}

// frame gives the records of lines, each behind its length.
func (s *Source) frame(from io.Reader, name string, at int64) io.Reader {
	longest := s.cfg.Multiline.Max
	if longest == 0 {
		longest = DefaultMultilineMax
	}
	return &framer{from: from, begin: s.begin, max: int(longest), name: name, at: at}
}

// Frame implements replay.Framer: a record in quarantine begins as it did in its
// file, so the lines are put together as there.
func (s *Source) Frame(raw io.Reader, name string) io.Reader { return s.frame(raw, name, 0) }

// framer reads lines and gives records, each behind its length.
type framer struct {
	from  io.Reader
	begin *regexp.Regexp
	max   int
	name  string // for errors
	at    int64  // of buf[start] in what name says

	buf         []byte
	start, end  int // of what is in buf
	scanned     int // no record begins in buf[start+1:scanned]
	over        bool
	head, frame []byte // of the record that is being given away
}

func (f *framer) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		if len(f.head) == 0 && len(f.frame) == 0 {
			if err := f.next(); err != nil {
				if n > 0 && errors.Is(err, io.EOF) {
					return n, nil
				}
				return n, err
			}
		}
		k := copy(b[n:], f.head)
		f.head = f.head[k:]
		n += k
		k = copy(b[n:], f.frame)
		f.frame = f.frame[k:]
		n += k
	}
	return n, nil
}

// next finds the next record.
func (f *framer) next() error {
	for {
		if end := f.border(); end > 0 {
			return f.give(end)
		}
		if f.over {
			if f.start == f.end {
				return io.EOF
			}
			return f.give(f.end)
		}
		if f.end-f.start > f.max+borders.MaxBegin+1 {
			return f.tooLong()
		}
		if err := f.fill(); err != nil {
			return err
		}
	}
}

// border is where the record at start ends in buf because another begins there;
// 0 when that can not be told from buf.
func (f *framer) border() int {
	for {
		n := bytes.IndexByte(f.buf[f.scanned:f.end], '\n')
		if n < 0 {
			f.scanned = f.end
			return 0
		}
		line := f.scanned + n + 1
		rest := f.buf[line:f.end]
		if !f.over && len(rest) <= borders.MaxBegin && bytes.IndexByte(rest, '\n') < 0 {
			f.scanned += n
			return 0
		}
		if len(rest) > 0 && borders.Begins(f.begin, rest) {
			return line
		}
		f.scanned = line
	}
}

// give gives buf[start:end] away.
func (f *framer) give(end int) error {
	if end-f.start > f.max {
		return f.tooLong()
	}
	f.frame = f.buf[f.start:end]
	f.head = binary.AppendUvarint(f.head[:0], uint64(len(f.frame)))
	f.at += int64(len(f.frame))
	f.start, f.scanned = end, end
	return nil
}

func (f *framer) tooLong() error {
	return job.Permanentf("%s: at byte %d: a record is longer than %d bytes: does multiline.begin match the first line of each record? multiline.max takes longer ones",
		f.name, f.at, f.max)
}

// room is how much is read at once.
const room = 64 << 10

// fill reads more into buf.
func (f *framer) fill() error {
	if cap(f.buf)-f.end < room && f.start > 0 {
		f.end = copy(f.buf[:cap(f.buf)], f.buf[f.start:f.end])
		f.scanned -= f.start
		f.start = 0
	}
	if cap(f.buf)-f.end < room {
		bigger := make([]byte, f.end, max(4*room, 2*cap(f.buf)))
		copy(bigger, f.buf[:f.end])
		f.buf = bigger
	}
	n, err := f.from.Read(f.buf[f.end:cap(f.buf)])
	f.end += n
	f.buf = f.buf[:f.end]
	switch {
	case errors.Is(err, io.EOF):
		f.over = true
	case err != nil:
		return fmt.Errorf("reading lines: %w", err)
	}
	return nil
}
