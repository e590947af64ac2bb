package azure

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drayage/pkg/source/files/store"
	"drayage/pkg/source/files/store/storetest"
	"drayage/pkg/testkit/azuretest"
)

// server is the storage that the tests of the package share.
var server *azuretest.Server

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	var err error
	server, err = azuretest.Start(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}), goleak.IgnoreCurrent(),
		// Idle connections to the server, which is closed after the check.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

const page = 5 // objects of a page of the listing

func open(t *testing.T, cfg Config, bucket string) *Store {
	t.Helper()
	s, err := New(cfg, bucket)
	if err != nil {
		t.Fatal(err)
	}
	s.page, s.pause = page, 20*time.Millisecond
	return s
}

func put(t *testing.T, in, key, data, encoding string) {
	t.Helper()
	if err := server.Put(t.Context(), in, key, []byte(data), encoding); err != nil {
		t.Fatal(err)
	}
}

func TestSuite(t *testing.T) {
	to, err := storetest.Proxy(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, storetest.Case{
		Server: to,
		New: func(t *testing.T, url string) store.Store {
			t.Helper()
			return open(t, Config{Endpoint: url + "/" + azuretest.Account, Account: azuretest.Account, AccountKey: azuretest.Key}, azuretest.Container)
		},
		Put: func(t *testing.T, o storetest.Stored) {
			t.Helper()
			put(t, azuretest.Container, o.Key, string(o.Data), o.Encoding)
		},
		Delete: func(t *testing.T, key string) {
			t.Helper()
			if err := server.Delete(t.Context(), azuretest.Container, key); err != nil {
				t.Fatal(err)
			}
		},
		Page:    page,
		Compare: ordinal,
		Unnamed: []string{`back\slash`}, // it becomes back/slash
		Secrets: []string{azuretest.Key},
	})
}
