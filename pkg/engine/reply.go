package engine

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
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
// With wait_end_of_query everything is held back, on disk what is more.
type reply struct {
	w       http.ResponseWriter
	coding  coding
	wait    bool
	version string // of ClickHouse, for the texts of errors
	tmp     string // where to hold back what is more

	started time.Time
	tag     string
	held    []byte
	spool   *os.File // nil, or what follows held
	sent    bool
	body    *encoder
}

func newReply(w http.ResponseWriter) *reply {
	var random [8]byte
	_, _ = rand.Read(random[:])
	return &reply{w: w, tag: hex.EncodeToString(random[:]), started: time.Now()}
}

// Write adds to the body.
func (r *reply) Write(p []byte) (int, error) {
	switch {
	case r.sent:
		return r.body.Write(p)
	case r.spool != nil:
		return r.spool.Write(p)
	case len(r.held)+len(p) <= replyBuffer:
		r.held = append(r.held, p...)
		return len(p), nil
	case r.wait:
		f, err := os.CreateTemp(r.tmp, "dray-reply-")
		if err != nil {
			return 0, fmt.Errorf("hold a reply back: %w", err)
		}
		_ = os.Remove(f.Name()) // it lives as long as it is open
		r.spool = f
		return f.Write(p)
	}
	if err := r.send(http.StatusOK); err != nil {
		return 0, err
	}
	return r.body.Write(p)
}

// send writes the status, the headers and what was held back.
func (r *reply) send(status int) error {
	r.sent = true
	h := r.w.Header()
	h.Set(headerTag, r.tag)
	if status != http.StatusOK {
		r.coding = coding{} // errors are short, and read by people
	}
	if r.coding.http != "" {
		h.Set("Content-Encoding", r.coding.http)
	}
	var err error
	if r.body, err = r.coding.encode(r.w); err != nil {
		return err
	}
	r.w.WriteHeader(status)
	held := r.held
	r.held = nil
	if _, err := r.body.Write(held); err != nil {
		return err
	}
	if r.spool == nil {
		return nil
	}
	if _, err := r.spool.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read a reply that was held back: %w", err)
	}
	_, err = io.Copy(r.body, r.spool)
	return err
}

// release frees what held the reply back.
func (r *reply) release() {
	if r.spool != nil {
		r.spool.Close()
	}
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
	return r.body.finish()
}

// fail ends the reply with an exception: as status and text when nothing was
// sent, as an exception block otherwise.
func (r *reply) fail(e *Exception, st stats) {
	text := strings.TrimRight(e.Error(), "\n")
	if r.version != "" {
		text += " (version " + r.version + ")"
	}
	text += "\n"
	r.summary(st)
	if !r.sent {
		h := r.w.Header()
		h.Set(headerCode, strconv.Itoa(e.Code))
		h.Set("Content-Type", "text/plain; charset=UTF-8")
		h.Del(headerFormat)
		r.release()
		r.held, r.spool = []byte(text), nil
		if r.send(e.status()) == nil {
			_ = r.body.finish()
		}
		return
	}
	// Clients look for at most 16 KiB.
	if len(text) > 8<<10 {
		text = strings.ToValidUTF8(text[:8<<10], "") + "…\n"
	}
	_ = r.body.legible()
	fmt.Fprintf(r.body, "\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n", r.tag, text, len(text), r.tag)
	_ = r.body.finish()
}
