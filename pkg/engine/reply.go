package engine

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Names of the headers of the ClickHouse HTTP interface.
const (
	headerSummary = "X-ClickHouse-Summary"
	headerCode    = "X-ClickHouse-Exception-Code"
	headerTag     = "X-ClickHouse-Exception-Tag"
	headerFormat  = "X-ClickHouse-Format"
	headerQueryID = "X-ClickHouse-Query-Id"
)

// replyBuffer is how much of a body is held back before status and headers
// are sent. What ends or fails within it gets the right status and the full
// summary in its headers.
const replyBuffer = 256 << 10

// reply is the answer to one request. It holds the start of the body back; when
// more comes, it sends status 200, and a failure after that is told by an
// exception block at the end of the body, as ClickHouse does since version 24.
type reply struct {
	w       http.ResponseWriter
	gzip    bool
	held    []byte
	tag     string
	sent    bool
	body    io.Writer
	flush   func() error
	started time.Time
}

func newReply(w http.ResponseWriter, gzipped bool) *reply {
	var random [8]byte
	_, _ = rand.Read(random[:])
	return &reply{w: w, gzip: gzipped, tag: hex.EncodeToString(random[:]), started: time.Now()}
}

// Write adds to the body.
func (r *reply) Write(p []byte) (int, error) {
	if !r.sent {
		if len(r.held)+len(p) <= replyBuffer {
			r.held = append(r.held, p...)
			return len(p), nil
		}
		if err := r.send(http.StatusOK); err != nil {
			return 0, err
		}
	}
	return r.body.Write(p)
}

// send writes the status, the headers and what was held back.
func (r *reply) send(status int) error {
	r.sent = true
	h := r.w.Header()
	r.body, r.flush = r.w, func() error { return nil }
	if r.gzip && (len(r.held) > 0 || status == http.StatusOK) {
		h.Set("Content-Encoding", "gzip")
		z, err := gzip.NewWriterLevel(r.w, gzip.BestSpeed)
		if err != nil {
			return fmt.Errorf("compress the reply: %w", err)
		}
		r.body, r.flush = z, z.Close
	}
	h.Set(headerTag, r.tag)
	r.w.WriteHeader(status)
	held := r.held
	r.held = nil
	_, err := r.body.Write(held)
	return err
}

// summary puts the counters of the statement into the headers, or into the
// trailer when the headers are gone.
func (r *reply) summary(st stats) {
	name := headerSummary
	if r.sent {
		name = http.TrailerPrefix + headerSummary
	}
	r.w.Header().Set(name, st.summary(time.Since(r.started)))
}

// summary is the value of X-ClickHouse-Summary.
func (st stats) summary(elapsed time.Duration) string {
	return fmt.Sprintf(`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d","total_rows_to_read":"0","result_rows":"%d","result_bytes":"%d","elapsed_ns":"%d"}`,
		st.storageRows, st.storageBytes, st.writtenRows, st.writtenBytes, st.rows, st.bytes, elapsed.Nanoseconds())
}

// done ends the reply well.
func (r *reply) done(st stats) error {
	r.summary(st)
	if !r.sent {
		if err := r.send(http.StatusOK); err != nil {
			return err
		}
	}
	return r.flush()
}

// fail ends the reply with an exception: as status and text when nothing was
// sent, as an exception block otherwise.
func (r *reply) fail(e *Exception, st stats) {
	text := strings.TrimRight(e.Error(), "\n") + "\n"
	r.summary(st)
	if !r.sent {
		h := r.w.Header()
		h.Set(headerCode, strconv.Itoa(e.Code))
		h.Set("Content-Type", "text/plain; charset=UTF-8")
		h.Del(headerFormat)
		r.held = []byte(text)
		if r.send(e.status()) == nil {
			_ = r.flush()
		}
		return
	}
	// Clients look for at most 16 KiB.
	if len(text) > 8<<10 {
		text = text[:8<<10] + "…\n"
	}
	fmt.Fprintf(r.body, "\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n", r.tag, text, len(text), r.tag)
	_ = r.flush()
}
