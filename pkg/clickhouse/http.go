package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// httpWire is ClickHouse's HTTP interface, through clickhouse-go.
type httpWire struct{ conn driver.Conn }

// newHTTPWire does not connect.
func newHTTPWire(end endpoint, tlsConfig *tls.Config) (*httpWire, error) {
	conn, err := ch.Open(&ch.Options{
		Protocol: ch.HTTP,
		Addr:     []string{end.host},
		// The database is left out: clickhouse-go would greet the server in
		// it, and fail where Create has still to make it.
		Auth:         ch.Auth{Username: end.user, Password: end.password},
		TLS:          tlsConfig,
		ClientInfo:   ch.ClientInfo{Products: []struct{ Name, Version string }{{Name: clientName, Version: "1"}}},
		DialTimeout:  end.dial,
		ReadTimeout:  end.read,
		MaxOpenConns: end.maxConns,
		MaxIdleConns: end.maxConns,
		TransportFunc: func(t *http.Transport) (http.RoundTripper, error) {
			// Each connection of clickhouse-go has a transport of its own.
			t.DialContext = end.dialing(net.Dialer{Timeout: end.dial, KeepAlive: keepAlive})
			t.TLSHandshakeTimeout = end.dial
			t.WriteBufferSize = 64 << 10
			// Below the 10s after which servers drop a connection, so that an
			// insert is not sent into one that is just being dropped. A new
			// one costs a handshake, and no greeting.
			t.IdleConnTimeout = 8 * time.Second
			return &transport{base: t}, nil
		},
	})
	return &httpWire{conn}, err
}

func (h *httpWire) run(ctx context.Context, s statement, each func(scanner) error) error {
	settings := s.settingsOf()
	if each == nil {
		// The answer is held back until the end, so that a failure half-way
		// comes as a status and not as text behind a 200 that Exec ignores.
		settings["wait_end_of_query"] = 1
		return h.conn.Exec(ch.Context(ctx, ch.WithSettings(settings)), s.sql)
	}
	rows, err := h.conn.Query(ch.Context(ctx, ch.WithSettings(settings)), s.sql)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	// Close also waits for the connection to be given back.
	return errors.Join(rows.Err(), rows.Close())
}

// settingsOf are the settings as clickhouse-go takes them: the database is one.
func (s statement) settingsOf() ch.Settings {
	settings := ch.Settings{}
	for name, value := range s.settings {
		settings[name] = value
	}
	if s.database != "" {
		settings["database"] = s.database
	}
	return settings
}

func (h *httpWire) stream(ctx context.Context, s statement, format string, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	settings := s.settingsOf()
	settings["cancel_http_readonly_queries_on_client_close"] = 1
	stream, err := h.conn.QueryFormat(ch.Context(ctx, ch.WithSettings(settings)), format, s.sql)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, stream)
	if err != nil {
		cancel() // Close would wait for more of the result
	}
	return errors.Join(err, stream.Close())
}

func (h *httpWire) insert(ctx context.Context, s *insert) error {
	// The statement given here is a stand-in: clickhouse-go takes it apart with
	// expressions that know no quoted names. The transport puts ours in its
	// place.
	return h.conn.InsertFormat(ctx, "Native", "INSERT INTO t", posted{s})
}

func (h *httpWire) ping(ctx context.Context) error { return h.conn.Ping(ctx) }

func (h *httpWire) close() error { return h.conn.Close() }
