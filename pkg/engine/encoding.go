package engine

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	chcompress "github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// requestBody is the body of the request, bounded and decompressed. A body
// that was cut short is an error of Read, whatever its encoding.
func (s *server) requestBody(r *http.Request, values url.Values) (io.Reader, error) {
	var body io.Reader = &bounded{r.Body, s.cfg.MaxBody}
	coding := strings.ToLower(r.Header.Get("Content-Encoding"))
	var open func(io.Reader) (io.Reader, error)
	switch coding {
	case "", "identity":
	case "gzip", "x-gzip":
		open = func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case "deflate":
		open = func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }
	case "br":
		open = func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil }
	case "lz4":
		open = func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }
	case "zstd":
		open = func(r io.Reader) (io.Reader, error) {
			z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(512<<20))
			if err != nil {
				return nil, err
			}
			return z, nil
		}
	default:
		return nil, &Exception{codeNotImplemented, "NOT_IMPLEMENTED", "Unknown http encoding type: " + coding}
	}
	if open != nil {
		body = &decoder{src: body, open: open}
	}
	if isTrue(values.Get("decompress")) {
		body = newBlockReader(body)
	}
	return body, nil
}

// decoder opens its decoding when the first byte is asked for; no byte at all
// is an empty body.
type decoder struct {
	src  io.Reader
	open func(io.Reader) (io.Reader, error)
	out  io.Reader
}

func (d *decoder) Read(p []byte) (int, error) {
	if d.out == nil {
		var first [1]byte
		if _, err := io.ReadFull(d.src, first[:]); err != nil {
			return 0, err
		}
		out, err := d.open(io.MultiReader(strings.NewReader(string(first[:])), d.src))
		if err != nil {
			return 0, notEnd(err)
		}
		d.out = out
	}
	n, err := d.out.Read(p)
	if errors.Is(err, io.EOF) {
		// The end of the encoding is not yet the end of the body: a client
		// that gave up may have ended the one properly, and not the other.
		err = d.end()
	}
	return n, err
}

// end is io.EOF when nothing follows in the body.
func (d *decoder) end() error {
	var one [1]byte
	if _, err := io.ReadFull(d.src, one[:]); err != nil {
		return err
	}
	return errors.New("the encoded body ends before its last byte")
}

// blockHead is the length of the head of a compressed block: a checksum of 16
// bytes, the method, the compressed size (from the method on), the size.
const blockHead = 16 + 9

// maxBlock bounds a compressed block.
const maxBlock = 128 << 20

// blockReader reads ClickHouse's compressed blocks. Beside decoding them, which
// ch-go does, it tells an end between two blocks from one within.
type blockReader struct {
	src   io.Reader
	block bytes.Reader
	buf   []byte
	z     *chcompress.Reader
	left  int // of the block, decoded
}

func newBlockReader(src io.Reader) *blockReader {
	b := &blockReader{src: src, buf: make([]byte, blockHead, 64<<10)}
	b.z = chcompress.NewReader(&b.block)
	return b
}

func (b *blockReader) Read(p []byte) (int, error) {
	for b.left == 0 {
		b.buf = b.buf[:blockHead]
		if _, err := io.ReadFull(b.src, b.buf); err != nil {
			return 0, err // io.EOF only when there is not one byte more
		}
		raw, size := binary.LittleEndian.Uint32(b.buf[17:]), binary.LittleEndian.Uint32(b.buf[21:])
		if raw < 9 || raw > maxBlock || size > maxBlock {
			return 0, fmt.Errorf("a compressed block of %d bytes for %d is none", raw, size)
		}
		b.buf = slices.Grow(b.buf, int(raw)-9)[:16+int(raw)]
		if _, err := io.ReadFull(b.src, b.buf[blockHead:]); err != nil {
			return 0, notEnd(err)
		}
		b.block.Reset(b.buf)
		b.left = int(size)
	}
	n, err := b.z.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, notEnd(err)
}

// notEnd keeps an end in the middle from being taken for the end.
func notEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// bounded fails, rather than ends, when there is more than left bytes.
type bounded struct {
	src  io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// At the very bound an end is still an end.
		var one [1]byte
		n, err := b.src.Read(one[:])
		if n > 0 {
			return 0, errors.New("the body is larger than DRAY_ENGINE_MAX_BODY")
		}
		return 0, err
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.src.Read(p)
	b.left -= int64(n)
	return n, err
}

// coding says how a reply is encoded: one of the encodings of HTTP, in the
// blocks of ClickHouse's own compression, or both.
type coding struct {
	http   string // "" or a Content-Encoding
	native chcompress.Method
	blocks bool
}

// replyCoding reads what the client accepts.
func replyCoding(r *http.Request, values url.Values) coding {
	var c coding
	if isTrue(values.Get("compress")) {
		c.blocks, c.native = true, chcompress.LZ4
		if strings.EqualFold(values.Get("network_compression_method"), "ZSTD") {
			c.native = chcompress.ZSTD
		}
	}
	if v := values.Get("enable_http_compression"); v != "" && !isTrue(v) {
		return c
	}
	accepted := map[string]bool{}
	for _, item := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(item), ";")
		if strings.ReplaceAll(quality, " ", "") != "q=0" {
			accepted[strings.ToLower(strings.TrimSpace(name))] = true
		}
	}
	// What costs least first.
	for _, name := range []string{"zstd", "gzip", "deflate", "br"} {
		if accepted[name] {
			c.http = name
			break
		}
	}
	return c
}

// encoder is a writer that encodes; finish ends the encoding. What is written
// after legible can be read in the encoded bytes too, as clients look there for
// exceptions, unless it is encoded for HTTP.
type encoder struct {
	io.Writer
	finish  func() error
	legible func() error
}

// encode returns an encoder that writes to w.
func (c coding) encode(w io.Writer) (*encoder, error) {
	finish := func() error { return nil }
	var coded io.WriteCloser
	var err error
	switch c.http {
	case "gzip":
		coded, err = gzip.NewWriterLevel(w, gzip.BestSpeed)
	case "deflate":
		coded, err = zlib.NewWriterLevel(w, zlib.BestSpeed)
	case "br":
		coded = brotli.NewWriterLevel(w, brotli.BestSpeed)
	case "zstd":
		coded, err = zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	}
	if err != nil {
		return nil, fmt.Errorf("encode the reply: %w", err)
	}
	if coded != nil {
		w, finish = coded, coded.Close
	}
	if !c.blocks {
		return &encoder{w, finish, func() error { return nil }}, nil
	}
	blocks := &blockWriter{w: w, z: chcompress.NewWriter(chcompress.LevelZero, c.native)}
	return &encoder{
		blocks,
		func() error { return errors.Join(blocks.flush(), finish()) },
		func() error {
			err := blocks.flush()
			blocks.z = chcompress.NewWriter(chcompress.LevelZero, chcompress.None)
			return err
		},
	}, nil
}

// blockSize is how much one block of ClickHouse's compression holds here.
const blockSize = 1 << 20

// blockWriter writes ClickHouse's compressed blocks.
type blockWriter struct {
	w   io.Writer
	z   *chcompress.Writer
	buf []byte
}

func (b *blockWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), blockSize-len(b.buf))
		b.buf = append(b.buf, p[:n]...)
		p = p[n:]
		if len(b.buf) == blockSize {
			if err := b.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

func (b *blockWriter) flush() error {
	if len(b.buf) == 0 {
		return nil
	}
	if err := b.z.Compress(b.buf); err != nil {
		return fmt.Errorf("compress a block: %w", err)
	}
	b.buf = b.buf[:0]
	_, err := b.w.Write(b.z.Data)
	return err
}

func isTrue(v string) bool { return v == "1" || strings.EqualFold(v, "true") }
