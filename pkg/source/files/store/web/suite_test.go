package web

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"drayage/pkg/source/files/store"
	"drayage/pkg/source/files/store/storetest"
)

// shelf is a web server of a few files.
type shelf struct {
	mu    sync.Mutex
	files map[string]storetest.Stored
	whole bool // it serves no ranges
}

// ServeHTTP implements http.Handler.
func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f, there := s.files[r.URL.RequestURI()]
	s.mu.Unlock()
	if !there {
		http.NotFound(w, r)
		return
	}
	if f.Encoding != "" {
		w.Header().Set("Content-Encoding", f.Encoding)
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, xxhash.Sum64(f.Data)))
	if s.whole {
		w.Header().Set("Content-Length", strconv.Itoa(len(f.Data)))
		_, _ = w.Write(f.Data)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.Data))
}

func TestSuite(t *testing.T) {
	for name, whole := range map[string]bool{"ranges": false, "whole": true} {
		t.Run(name, func(t *testing.T) { suite(t, &shelf{files: map[string]storetest.Stored{}, whole: whole}) })
	}
}

func suite(t *testing.T, server *shelf) {
	t.Helper()
	path := func(t *testing.T, key string) string {
		u, err := url.Parse("http://h/" + key)
		if err != nil {
			t.Fatal(err)
		}
		return u.RequestURI()
	}
	storetest.Run(t, storetest.Case{
		Server: server,
		New: func(t *testing.T, url string) store.Store {
			s, err := New(Config{Headers: map[string]string{"X-Token": "a-token-of-the-tests"}}, url)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Put: func(t *testing.T, o storetest.Stored) {
			server.mu.Lock()
			defer server.mu.Unlock()
			server.files[path(t, o.Key)] = o
		},
		Delete: func(t *testing.T, key string) {
			server.mu.Lock()
			defer server.mu.Unlock()
			delete(server.files, path(t, key))
		},
		Unnamed: []string{"100%", "a#b"}, // they are no part of an address
		Secrets: []string{"a-token-of-the-tests"},
	})
}
