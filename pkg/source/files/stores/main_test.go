package stores_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files"
	"drayage/pkg/source/files/store/s3"
	"drayage/pkg/source/files/stores"
	"drayage/pkg/testkit"
	"drayage/pkg/testkit/s3test"
)

// eng is the real engine that all tests of the package share.
var eng *engine.Client

// onItsWay bounds the bytes that a connection of the tests holds between the two
// ends, each way: otherwise the kernel takes up to ten megabytes, by how busy the
// machine is, and what was read could not be told from what was only sent.
const onItsWay = 64 << 10

func TestMain(m *testing.M) {
	transport := http.DefaultTransport.(*http.Transport) //nolint:forcetypeassert // it is one
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(onItsWay)
		}
		return c, err
	}
	testkit.WithEngine(m, func(c *engine.Client) { eng = c })
}

// bucket starts an S3 with objects.
func bucket(t *testing.T, objects map[string]string) *s3test.Server {
	t.Helper()
	s, err := s3test.Start(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for key, data := range objects {
		if err := s.Put(key, data); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// reached says how the stores of a test are reached.
func reached(s *s3test.Server) stores.Config {
	return stores.Config{S3: s3.Config{Endpoint: s.URL, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey}}
}

func mustNew(t *testing.T, c files.Config) *files.Source {
	t.Helper()
	s, err := files.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cols(pairs ...string) []job.Column {
	var all []job.Column
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, job.Column{Name: pairs[i], Type: pairs[i+1]})
	}
	return all
}

func gz(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// written is what the engine writes in a format.
func written(t *testing.T, sql, format string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "*")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := eng.Exec(t.Context(), engine.Statement{
		SQL:      fmt.Sprintf("INSERT INTO FUNCTION file('%s', '%s') %s", f.Name(), format, sql),
		Settings: map[string]string{"engine_file_truncate_on_insert": "1", "output_format_parquet_row_group_size": "1000", "max_threads": "1"},
	}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func plan(ctx context.Context, s *files.Source, from json.RawMessage, columns []job.Column) (all []source.Planned, err error) {
	for p, err := range s.Plan(ctx, from, columns) {
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

// read opens a chunk and reads its bytes.
func read(ctx context.Context, s *files.Source, input json.RawMessage, columns []job.Column) (string, error) {
	in, err := s.Open(ctx, input, columns)
	if err != nil {
		return "", err
	}
	r := in.Reader
	if in.File != nil {
		r = io.NewSectionReader(in.File, 0, 1<<40)
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, in.Check(), in.Close())
}

// bucketless starts a web server.
func bucketless(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
