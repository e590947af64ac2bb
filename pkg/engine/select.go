package engine

import (
	"context"
	"fmt"
	"io"
	"os"
)

// streamSelect runs a SELECT and copies its output, however large, to out. The
// engine writes it in the right format into a pipe, with INTO OUTFILE: memory
// stays bounded in every format, and the pipe is the backpressure.
func (s *session) streamSelect(ctx context.Context, st statement, format string, parameters map[string]string, out io.Writer) (stats, error) {
	r, w, err := widePipe()
	if err != nil {
		return stats{}, err
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A killed statement must not stay blocked in writing to the pipe.
	defer context.AfterFunc(ctx, func() { r.Close() })()

	type outcome struct {
		stats
		err error
	}
	over := make(chan outcome, 1)
	go func() {
		sql := fmt.Sprintf("%s\n INTO OUTFILE '/proc/self/fd/%d' TRUNCATE COMPRESSION 'none' FORMAT %s%s", st.sql, w.Fd(), format, st.tail)
		_, st, err := s.run(ctx, sql, "Null", parameters)
		w.Close()
		over <- outcome{st, err}
	}()
	_, copyErr := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{r}, make([]byte, 256<<10))
	if copyErr != nil {
		cancel() // the client is gone
	}
	end := <-over
	if end.err == nil && copyErr != nil {
		end.err = fmt.Errorf("send the result: %w", copyErr)
	}
	return end.stats, end.err
}

// widePipe is a pipe with a large buffer.
func widePipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe to the engine: %w", err)
	}
	widen(w)
	return r, w, nil
}
