package clickhouse_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"drayage/pkg/clickhouse"
)

// sink is a process that takes inserts and throws them away, so that what is
// measured is what sending costs. Everything else goes to the engine.
func sink(address string) {
	target, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	buf := make([]byte, 1<<20)
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // a benchmark
		if !strings.HasPrefix(r.URL.Query().Get("query"), "INSERT") {
			pass.ServeHTTP(w, r)
			return
		}
		for {
			if _, err := r.Body.Read(buf); err != nil {
				return
			}
		}
	})))
}

// BenchmarkLoad measures the CPU that sending a block of 64 MiB takes here.
func BenchmarkLoad(b *testing.B) {
	cmd := exec.Command(os.Args[0], "sink", shared.URL()) //nolint:gosec // ourselves
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	host, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	host = strings.TrimSpace(host)
	u, err := url.Parse(shared.URL())
	if err != nil {
		b.Fatal(err)
	}
	u.Host = host

	const size = 64 << 20
	shape, err := clickhouse.Open(b.Context(), clickhouse.Config{URL: shared.URL(), Database: "default"})
	if err != nil {
		b.Fatal(err)
	}
	defer shape.Close()
	var block bytes.Buffer
	err = shape.Query(b.Context(), `SELECT number AS id, toDateTime(1700000000 + number * 3) AS at, rand() % 1500 - 60 AS delay, ['Houston', 'Chicago', 'Denver', 'El Paso'][rand() % 4 + 1] AS city,
    randCanonical() * 1000 AS price, concat('user-', toString(rand() % 100000)) AS user, toUInt8(rand() % 5) AS kind, hex(rand64()) AS hash
FROM numbers(1200000) SETTINGS max_block_size = 10000000`, "Native", &block)
	if err != nil {
		b.Fatal(err)
	}
	body := append(block.Bytes(), make([]byte, max(0, size-block.Len()))...)[:size]

	raw, err := ch.Open(&ch.Options{Protocol: ch.HTTP, Addr: []string{host}, Auth: ch.Auth{Username: "tester", Password: password}})
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	b.Run("clickhouse-go InsertFormat", func(b *testing.B) {
		measure(b, size, func() error {
			return raw.InsertFormat(b.Context(), "Native", "INSERT INTO t", bytes.NewReader(body))
		})
	})
	for _, method := range []string{clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD} {
		c, err := clickhouse.Open(b.Context(), clickhouse.Config{URL: u.String(), Compression: method})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		b.Run(method, func(b *testing.B) {
			measure(b, size, func() error {
				return c.Load(b.Context(), clickhouse.Load{Table: clickhouse.Table{Name: "t"}, Columns: []string{"x"}, Body: bytes.NewReader(body), Length: size, Token: "a"})
			})
		})
	}
}

func measure(b *testing.B, size int64, send func() error) {
	b.Helper()
	b.SetBytes(size)
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if err := send(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpu(b)-before)*1000/float64(b.N)/float64(size>>20)*1024, "cpu-ms/GiB")
}

func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
