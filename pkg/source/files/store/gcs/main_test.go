package gcs

import (
	"testing"
	"time"

	"drayage/pkg/source/files/store"
	"drayage/pkg/source/files/store/storetest"
	"drayage/pkg/testkit"
	"drayage/pkg/testkit/gcstest"
)

// server is the storage that the tests of the package share.
var server *gcstest.Server

func TestMain(m *testing.M) { testkit.WithServer(m, &server, gcstest.Start) }

const page = 5 // objects of a page of the listing

// open is a store of a server at an address.
func open(_ *testing.T, address string) store.Store {
	s := New(Config{Endpoint: address, Anonymous: true}, gcstest.Bucket)
	s.page, s.pause = page, 20*time.Millisecond
	return s
}

func put(t *testing.T, key, data, encoding string) {
	t.Helper()
	if err := server.Put(t.Context(), key, []byte(data), encoding); err != nil {
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
		New:    open,
		Put:    func(t *testing.T, o storetest.Stored) { put(t, o.Key, string(o.Data), o.Encoding) },
		Delete: func(t *testing.T, key string) {
			t.Helper()
			if err := server.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		},
		Page: page,
	})
}
