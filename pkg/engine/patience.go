package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// patient is the body of a request whose client must go on sending it: a client
// that says nothing for a time, because its process is stopped or its machine
// gone, must not keep a statement, its locks and its query_id for ever. ClickHouse
// does the same (http_receive_timeout).
type patient struct {
	io.ReadCloser
	ctx     context.Context // that of the statement, for a cancelled one is not to wait for its body
	control *http.ResponseController
	wait    time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	p.until(time.Now().Add(p.wait))
	n, err := p.ReadCloser.Read(b)
	if err != nil {
		// net/http reads on, to see whether the client leaves: of a request without a
		// body since before this.
		p.until(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && p.ctx.Err() == nil {
		err = fmt.Errorf("the client sent nothing for %v", p.wait)
	}
	return n, err
}

func (p *patient) until(t time.Time) {
	_ = p.control.SetReadDeadline(t)
	if p.ctx.Err() != nil {
		_ = p.control.SetReadDeadline(longAgo)
	}
}

// longAgo ends a read at once.
var longAgo = time.Unix(1, 0) //nolint:gochecknoglobals // a constant
