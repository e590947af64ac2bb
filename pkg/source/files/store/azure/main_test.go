package azure

import (
	"context"
	"testing"
	"time"

	"drayage/pkg/source/files/store"
	"drayage/pkg/source/files/store/storetest"
	"drayage/pkg/testkit"
	"drayage/pkg/testkit/azuretest"
)

// server is the storage that the tests of the package share.
var server *azuretest.Server

func TestMain(m *testing.M) {
	testkit.WithServer(m, &server, func() (*azuretest.Server, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return azuretest.Start(ctx)
	})
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
