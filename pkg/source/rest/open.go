package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Open implements source.Source, but for the promise of equal bytes: see the
// package. It makes the first request; the others follow as the input is read.
func (s *Source) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, err := parsePart(input)
	if err != nil {
		return nil, err
	}
	client, err := newClient(s)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", s.url.place(nil), err)
	}
	held, release, err := s.cfg.Seats.Take(ctx)
	if err != nil {
		return nil, fmt.Errorf("waiting for a seat at %s: %w", s.url.place(nil), err)
	}
	ctx, cancel := context.WithCancelCause(held)
	r := &records{
		beat: s.beat,
		s:    s, ctx: ctx, client: client, pager: newPager(s.cfg.Paging), vars: s.span.vars(p),
	}
	r.place = s.url.place(r.vars) + s.span.label(p)
	end := func() error {
		cancel(errClosed)
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		r.busy.Wait()
		r.client.http.CloseIdleConnections()
		release()
		return nil
	}
	if err := r.request(); err != nil {
		_ = end()
		return nil, r.wrap(err)
	}
	return &source.Input{
		Reader: r, Format: "JSONEachRow", Compression: "none", Structure: columns,
		Settings: s.settings(), Close: end,
	}, nil
}

var errClosed = errors.New("the input was closed")

const (
	// heartbeat is how often a reader who waits for the API, its rate or the
	// pause before a retry is given an empty line, which is nothing in
	// JSONEachRow: the chunk is not stuck.
	heartbeat = time.Second
	// outBuffer is about how many bytes of records are kept ready.
	outBuffer = 64 << 10
)

// records reads the pages of a chunk as JSONEachRow. It holds one record and
// outBuffer bytes.
type records struct {
	s      *Source
	ctx    context.Context //nolint:containedctx // it is that of the reads
	client *client
	pager  *pager
	vars   map[string]string
	place  string
	beat   time.Duration

	res    *response
	answer *answer
	body   *xxhash.Digest // of the page as it came
	digest *xxhash.Digest // of its records
	out    bytes.Buffer
	err    error

	mu     sync.Mutex // of closed, and of what begins
	closed bool
	busy   sync.WaitGroup
	filled chan error // of a fill that is under way, which has all else to itself
}

// Read implements io.Reader.
func (r *records) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for r.filled != nil || r.out.Len() == 0 {
		if r.filled == nil {
			if r.err != nil {
				return 0, r.err
			}
			if r.err = r.begin(); r.err != nil {
				return 0, r.err
			}
		}
		wait := time.NewTimer(r.beat)
		select {
		case err := <-r.filled:
			wait.Stop()
			r.filled = nil
			if r.err = err; err != nil && !errors.Is(err, io.EOF) {
				r.err = r.wrap(err)
			}
		case <-wait.C:
			b[0] = '\n'
			return 1, nil
		}
	}
	return r.out.Read(b)
}

// begin starts to fill.
func (r *records) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	filled := make(chan error, 1)
	r.filled = filled
	r.busy.Go(func() { filled <- r.fill(outBuffer) })
	return nil
}

// fill makes records ready, about size bytes of them or the rest of a page;
// io.EOF says that there are no more.
func (r *records) fill(size int) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	for r.out.Len() < size {
		raw, err := r.answer.next()
		if errors.Is(err, io.EOF) {
			if r.out.Len() > 0 {
				return nil // before the next page is waited for
			}
			return r.turn()
		}
		if err != nil {
			r.res.close()
			return r.broken(err)
		}
		before := r.out.Len()
		if err := json.Compact(&r.out, raw); err != nil {
			return job.Retryf("a record is not JSON: %w", err)
		}
		_, _ = r.digest.Write(r.out.Bytes()[before:]) // a hash takes everything
		r.out.WriteByte('\n')
	}
	return nil
}

// turn goes on with the next page.
func (r *records) turn() error {
	r.res.close()
	if !r.res.empty {
		if err := r.answer.missing(); err != nil {
			return err
		}
	}
	more, err := r.pager.next(r.answer, marks{r.body.Sum64(), r.digest.Sum64()}, r.res.url, r.res.header)
	if err != nil {
		return err
	}
	if !more {
		return io.EOF
	}
	return r.request()
}

// request asks for the page of the pager.
func (r *records) request() error {
	to, body, err := r.target()
	if err != nil {
		return err
	}
	if r.res, err = r.client.get(r.ctx, to, body); err != nil {
		return err
	}
	r.body, r.digest = xxhash.New(), xxhash.New()
	if r.res.empty {
		r.answer = &answer{ended: true, found: true}
		return nil
	}
	r.answer = newAnswer(io.TeeReader(r.res.body, r.body), r.s.want, len(r.s.want.records) == 0 && r.res.lines)
	return nil
}

// target is the address and the body of the request for the page.
func (r *records) target() (*url.URL, string, error) {
	cfg := &r.s.cfg
	vars := maps.Clone(r.vars)
	name, value := r.pager.vars()
	if name != "" {
		vars[name] = value
	}
	body := r.s.body.body(vars, r.s.contentType())
	if r.pager.link != nil {
		return r.pager.link, body, nil
	}
	to, err := r.s.url.url(vars)
	if err != nil {
		return nil, "", job.Permanentf("url does not parse with its values")
	}
	add := func(param, v string) {
		if to.RawQuery != "" {
			to.RawQuery += "&"
		}
		to.RawQuery += url.QueryEscape(param) + "=" + url.QueryEscape(v)
	}
	if cfg.Paging.SizeParam != "" {
		add(cfg.Paging.SizeParam, fmt.Sprint(cfg.Paging.Size))
	}
	if cfg.Paging.Param != "" && value != "" {
		add(cfg.Paging.Param, value)
	}
	return to, body, nil
}

// broken classifies an error of reading an answer.
func (r *records) broken(err error) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return job.Retryf("the answer is broken JSON after record %d: %w", r.answer.count, err)
	}
	return err
}

// wrap says where an error arose, and hides what is secret in it.
func (r *records) wrap(err error) error {
	return fmt.Errorf("reading %s, page %d: %w", r.place, r.pager.number, r.s.secrets.without(err))
}
