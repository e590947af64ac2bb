// Command server is a Google Cloud Storage for tests: fake-gcs-server in memory,
// with what that leaves out: a read is refused when its ifGenerationMatch names
// another generation. It prints its address, and ends with its input. It is a
// module of its own, for the many that it needs are none of Drayage's.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := "http://" + listener.Addr().String()
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, ExternalURL: address})
	if err != nil {
		return err
	}
	for _, bucket := range os.Args[1:] {
		fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	}
	if _, err := fmt.Println(address); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test has gone
		os.Exit(0)
	}()
	return http.Serve(listener, preconditions{fake}) //nolint:gosec // of a test
}

// preconditions compares the generation of a read.
type preconditions struct{ fake *fakestorage.Server }

// ServeHTTP implements http.Handler.
func (p preconditions) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if want := req.URL.Query().Get("ifGenerationMatch"); want != "" && req.Method == http.MethodGet {
		bucket, key, ok := object(req.URL.EscapedPath())
		found, err := p.fake.GetObjectStreaming(bucket, key)
		if err == nil {
			_ = found.Close() // nothing was read
		}
		if ok && err == nil && strconv.FormatInt(found.Generation, 10) != want {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusPreconditionFailed)
			fmt.Fprint(w, `{"error":{"code":412,"message":"At least one of the pre-conditions you specified did not hold.","errors":[{"reason":"conditionNotMet"}]}}`)
			return
		}
	}
	p.fake.HTTPHandler().ServeHTTP(w, req)
}

// object is what a path of the JSON API names.
func object(path string) (bucket, key string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/storage/v1/b/")
	bucket, key, found := strings.Cut(rest, "/o/")
	bucket, err1 := url.PathUnescape(bucket)
	key, err2 := url.PathUnescape(key)
	return bucket, key, ok && found && err1 == nil && err2 == nil
}
