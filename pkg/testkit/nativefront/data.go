package nativefront

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"drayage/pkg/engine"
	"drayage/pkg/native"
)

// maxTable bounds an external table, in bytes.
const maxTable = 64 << 20

// table is an external table.
type table struct {
	name    string
	columns []native.Column
	data    []byte
}

// tables reads the packets of data that follow a statement, up to the empty
// one: at most one table.
func (s *session) tables(packed bool) (*table, error) {
	var t *table
	for {
		n, err := binary.ReadUvarint(s.in)
		if err != nil {
			return nil, err
		}
		if proto.ClientCode(n) != proto.ClientCodeData { //nolint:gosec // a code is small
			return nil, fmt.Errorf("packet %d where data were due", n)
		}
		var data bytes.Buffer
		name, block, err := s.block(&data, packed)
		if err != nil {
			return nil, err
		}
		switch {
		case len(block.Columns) == 0:
			return t, nil
		case t != nil || data.Len() > maxTable:
			return nil, errors.New("more than one block of external tables")
		}
		t = &table{name, block.Columns, data.Bytes()}
	}
}

// block reads the rest of a packet of data, and copies its block.
func (s *session) block(to io.Writer, packed bool) (name string, b native.Block, err error) {
	if name, err = s.reader.Str(); err != nil {
		return name, b, err
	}
	in := s.in
	if packed {
		s.reader.EnableCompression()
		defer s.reader.DisableCompression()
		in = s.unpacked
	}
	var info [8]byte // as every client writes it: no overflow, a bucket
	if _, err = io.ReadFull(in, info[:]); err != nil {
		return name, b, err
	}
	b, err = native.Copy(to, in)
	if errors.Is(err, native.ErrOpaque) {
		err = state(to, in, b, err)
	}
	return name, b, err
}

// state copies the states of one aggregate function whose length is known here,
// in the last column of a block.
func state(to io.Writer, in *bufio.Reader, b native.Block, err error) error {
	if b.Columns[len(b.Columns)-1].Type != "AggregateFunction(sum, UInt64)" {
		return err
	}
	_, err = io.CopyN(to, in, int64(b.Rows)*8) //nolint:gosec // of a test
	return err
}

// data sends a block.
func (s *session) data(b []byte, packed bool) error {
	return s.send(func(buf *proto.Buffer) {
		proto.ServerCodeData.Encode(buf)
		buf.PutString("")
		var block bytes.Buffer
		w := framed(&block, packed)
		_, _ = w.Write([]byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0}) // it never fails
		_, _ = w.Write(b)                                          // likewise
		_ = w.Close()                                              // likewise
		buf.PutRaw(block.Bytes())
	})
}

// head is the block without rows that comes before a result.
func head(columns []native.Column) []byte {
	var b proto.Buffer
	b.PutInt(len(columns))
	b.PutInt(0)
	for _, c := range columns {
		b.PutString(c.Name)
		b.PutString(c.Type)
	}
	return b.Buf
}

// result runs a statement and sends its result.
func (s *session) result(ctx context.Context, st engine.Statement, t *table, packed bool) error {
	st = with(st, map[string]string{"default_format": "Native"})
	var out io.ReadCloser
	var err error
	if t == nil {
		out, err = s.client.Query(ctx, st)
	} else {
		out, err = s.form(ctx, st, t)
	}
	if err != nil {
		return err
	}
	defer out.Close()
	in := bufio.NewReaderSize(out, 128<<10)
	for first := true; ; first = false {
		var data bytes.Buffer
		b, err := native.Copy(&data, in)
		if err == io.EOF { //nolint:errorlint // its contract
			return nil
		}
		if errors.Is(err, native.ErrOpaque) {
			err = state(&data, in, b, err)
		}
		if err != nil {
			return err
		}
		if first {
			if err := s.data(head(b.Columns), packed); err != nil {
				return err
			}
			if err := s.send(func(b *proto.Buffer) {
				proto.ServerCodeProgress.Encode(b)
				proto.Progress{Rows: 1}.EncodeAware(b, s.revision)
			}); err != nil {
				return err
			}
		}
		if err := s.data(data.Bytes(), packed); err != nil {
			return err
		}
	}
}

// form runs a statement with an external table, which the engine takes as a
// part of a form.
func (s *session) form(ctx context.Context, st engine.Statement, t *table) (io.ReadCloser, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile(t.name, t.name)
	if err != nil {
		return nil, err
	}
	if _, err := part.Write(t.data); err != nil {
		return nil, err
	}
	if err := form.Close(); err != nil {
		return nil, err
	}
	var structure []string
	for _, c := range t.columns {
		structure = append(structure, "`"+strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(c.Name)+"` "+c.Type)
	}
	values := url.Values{"query": {st.SQL}, t.name + "_structure": {strings.Join(structure, ", ")}, t.name + "_format": {"Native"}}
	for name, value := range st.Settings {
		values.Set(name, value)
	}
	u := url.URL{Scheme: "http", Host: s.front.host, Path: "/", RawQuery: values.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), &body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.SetBasicAuth(s.user, s.password)
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	code, err := strconv.Atoi(res.Header.Get("X-ClickHouse-Exception-Code"))
	if err != nil {
		return nil, err
	}
	return nil, &engine.Exception{Code: code, Message: string(text)}
}

// insert runs an INSERT whose rows come in packets of data.
func (s *session) insert(ctx context.Context, cancel context.CancelFunc, st engine.Statement, target string, packed bool) error {
	probe := with(st, nil)
	probe.QueryID = ""
	probe.Body = bytes.NewReader(nil)
	// An insert of nothing says whether there can be one of something.
	if _, err := s.client.Exec(ctx, probe); err != nil {
		if err := s.fail(err); err != nil {
			return err
		}
		return errors.New("no rows are awaited")
	}
	name, list := cut(strings.TrimPrefix(target, "INSERT INTO "))
	var columns []native.Column
	if err := s.client.Rows(ctx, engine.Statement{SQL: "DESCRIBE TABLE " + name, Database: s.database}, &columns); err != nil {
		return s.fail(err)
	}
	var types []native.Column
	for _, c := range columns {
		if strings.Contains(list, "`"+c.Name+"`") {
			types = append(types, c)
		}
	}
	if err := s.data(head(types), packed); err != nil {
		return err
	}
	pr, pw := io.Pipe()
	st.Body = pr
	type answer struct {
		engine.Summary
		err error
	}
	answered := make(chan answer, 1)
	s.front.wg.Go(func() {
		sum, err := s.client.Exec(ctx, st)
		_ = pr.CloseWithError(io.ErrClosedPipe)
		// While the rows still come, as a server does; one that dies breaks
		// the connection.
		if err != nil && s.fail(err) != nil {
			_ = s.conn.Close()
		}
		answered <- answer{sum, err}
	})
	if err := s.rows(pw, packed); err != nil {
		cancel()
		_ = pw.CloseWithError(err)
		<-answered
		return err
	}
	_ = pw.Close()
	s.ask()
	select {
	case a := <-answered:
		if a.err != nil {
			return a.err
		}
		return s.send(func(b *proto.Buffer) {
			proto.ServerCodeProgress.Encode(b)
			proto.Progress{WroteRows: a.WrittenRows, WroteBytes: a.WrittenBytes}.EncodeAware(b, s.revision)
			proto.ServerCodeEndOfStream.Encode(b)
		})
	case next := <-s.codes: // the client has left, or what it sent is out of place
		cancel()
		<-answered
		return errors.Join(next.err, io.ErrUnexpectedEOF)
	}
}

// cut takes the name of a table off the list of columns. What is quoted is so
// with backticks.
func cut(target string) (name, list string) {
	quoted := false
	for i := 0; i < len(target); i++ {
		switch {
		case target[i] == '\\':
			i++
		case target[i] == '`':
			quoted = !quoted
		case target[i] == '(' && !quoted:
			return target[:i], target[i:]
		}
	}
	return target, ""
}

// rows copies the blocks of an insert up to the empty one.
func (s *session) rows(to *io.PipeWriter, packed bool) error {
	for {
		next := <-s.codes
		if next.err != nil {
			return next.err
		}
		if next.code != proto.ClientCodeData {
			return fmt.Errorf("packet %d where rows were due", next.code)
		}
		// What the engine does not take any more is still to be read.
		_, block, err := s.block(&lenient{to: to}, packed)
		if err != nil {
			return err
		}
		if len(block.Columns) == 0 {
			return nil
		}
		s.ask()
	}
}

// lenient writes until that fails, and takes the rest for nothing.
type lenient struct {
	to   io.Writer
	gone bool
}

func (l *lenient) Write(p []byte) (int, error) {
	if !l.gone {
		_, err := l.to.Write(p)
		l.gone = err != nil
	}
	return len(p), nil
}
