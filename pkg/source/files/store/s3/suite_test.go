package s3

import (
	"net/http"
	"testing"

	"drayage/pkg/source/files/store"
	"drayage/pkg/source/files/store/storetest"
	"drayage/pkg/testkit/s3test"
)

func TestSuite(t *testing.T) {
	alone(t)
	server := start(t, false)
	storetest.Run(t, storetest.Case{
		Server: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Has("list-type") {
				q.Set("max-keys", "5")
				r.URL.RawQuery = q.Encode()
			}
			server.ServeHTTP(w, r)
		}),
		New: func(_ *testing.T, url string) store.Store {
			return New(Config{Endpoint: url, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey}, s3test.Bucket)
		},
		Put: func(t *testing.T, o storetest.Stored) {
			if err := server.Put(o.Key, string(o.Data)); err != nil {
				t.Fatal(err)
			}
		},
		Delete: func(t *testing.T, key string) {
			if err := server.Delete(key); err != nil {
				t.Fatal(err)
			}
		},
		Page:    5,
		Secrets: []string{s3test.SecretKey, s3test.AccessKey},
	})
}
