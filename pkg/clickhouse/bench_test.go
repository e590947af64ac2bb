package clickhouse_test

import (
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

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"

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
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go nativeSink(tcp)
	fmt.Println(l.Addr(), tcp.Addr())
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

// nativeSink does the same over the native protocol. It does not look at the
// rows: they end with the one packet that is the same in every insert.
func nativeSink(l net.Listener) {
	version := proto.ServerHello{Name: "sink", Major: 26, Minor: 7, Revision: 54483, Timezone: "UTC"}
	ends := nativeEnds()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			r := proto.NewReader(c)
			send := func(encode func(*proto.Buffer)) {
				var b proto.Buffer
				encode(&b)
				_, _ = c.Write(b.Buf)
			}
			var hello proto.ClientHello
			if _, err := r.UVarInt(); err != nil || hello.Decode(r) != nil {
				return
			}
			send(func(b *proto.Buffer) { version.EncodeAware(b, hello.ProtocolVersion) })
			buf := make([]byte, 1<<20)
			for {
				var q proto.Query
				if _, err := r.UVarInt(); err != nil || q.DecodeAware(r, hello.ProtocolVersion) != nil {
					return
				}
				until := func() {
					var tail []byte
					for {
						n, err := r.Read(buf)
						if err != nil {
							return
						}
						tail = append(tail, buf[max(0, n-100):n]...)
						tail = tail[max(0, len(tail)-100):]
						for _, end := range ends {
							if bytes.HasSuffix(tail, end) {
								return
							}
						}
					}
				}
				until()
				head := []byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 1, 0}
				switch {
				case strings.HasPrefix(q.Body, "INSERT"):
				case q.Body == "SELECT version()":
					head = append([]byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 1, 1}, "\x01v\x06String\x0426.7"...)
				default:
					send(func(b *proto.Buffer) { proto.ServerCodeEndOfStream.Encode(b) })
					continue
				}
				send(func(b *proto.Buffer) {
					proto.ServerCodeData.Encode(b)
					b.PutString("")
					if q.Compression == proto.CompressionEnabled {
						z := compress.NewWriter(compress.LevelZero, compress.LZ4)
						_ = z.Compress(append(head, "\x01x\x06String"...))
						b.PutRaw(z.Data)
					} else if head[9] == 1 {
						b.PutRaw(head)
					} else {
						b.PutRaw(append(head, "\x01x\x06String"...))
					}
				})
				if head[9] == 0 {
					until()
				}
				send(func(b *proto.Buffer) { proto.ServerCodeEndOfStream.Encode(b) })
			}
		}()
	}
}

// nativeEnds are the packets that end the rows of an insert, by compression.
func nativeEnds() [][]byte {
	block := []byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0}
	ends := [][]byte{append([]byte{2, 0}, block...)}
	for _, m := range []compress.Method{compress.LZ4, compress.ZSTD} {
		z := compress.NewWriter(compress.LevelZero, m)
		_ = z.Compress(block)
		ends = append(ends, append([]byte{2, 0}, z.Data...))
	}
	return ends
}

// BenchmarkLoad measures the CPU that sending a block of about 128 MiB takes
// here.
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
	var host, nativeHost string
	if _, err := fmt.Fscanln(out, &host, &nativeHost); err != nil {
		b.Fatal(err)
	}
	u, err := url.Parse(shared.URL())
	if err != nil {
		b.Fatal(err)
	}
	u.Host = host

	shape, err := clickhouse.Open(b.Context(), clickhouse.Config{URL: shared.URL(), Database: "default"})
	if err != nil {
		b.Fatal(err)
	}
	defer shape.Close()
	var block bytes.Buffer
	err = shape.Query(b.Context(), `SELECT number AS id, toDateTime(1700000000 + number * 3) AS at, rand() % 1500 - 60 AS delay, ['Houston', 'Chicago', 'Denver', 'El Paso'][rand() % 4 + 1] AS city,
    randCanonical() * 1000 AS price, concat('user-', toString(rand() % 100000)) AS user, toUInt8(rand() % 5) AS kind, hex(rand64()) AS hash
FROM numbers(1830000) SETTINGS max_block_size = 10000000`, "Native", &block)
	if err != nil {
		b.Fatal(err)
	}
	body, size := block.Bytes(), int64(block.Len())

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
	over := *u
	over.Scheme, over.Host = "clickhouse", nativeHost
	for _, way := range []struct{ address, method string }{
		{u.String(), clickhouse.CompressionNone}, {over.String(), clickhouse.CompressionNone},
		{u.String(), clickhouse.CompressionLZ4}, {over.String(), clickhouse.CompressionLZ4},
		{u.String(), clickhouse.CompressionZSTD}, {over.String(), clickhouse.CompressionZSTD},
	} {
		c, err := clickhouse.Open(b.Context(), clickhouse.Config{URL: way.address, Compression: way.method})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		scheme, _, _ := strings.Cut(way.address, ":")
		b.Run(scheme+" "+way.method, func(b *testing.B) {
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
