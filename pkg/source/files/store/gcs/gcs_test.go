package gcs

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
	"drayage/pkg/source/sourcetest"
	"drayage/pkg/testkit/gcstest"
)

// api is a server that knows one object, by a bearer token where there is one.
type api struct {
	*httptest.Server
	token string
	mu    sync.Mutex
	last  *http.Request
}

func serve(t *testing.T, token string, answer http.HandlerFunc) *api {
	t.Helper()
	a := &api{token: token}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.last = r
		a.mu.Unlock()
		if a.token != "" && r.Header.Get("Authorization") != "Bearer "+a.token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if answer != nil {
			answer(w, r)
			return
		}
		fmt.Fprint(w, `{"name":"a","size":"3","generation":"7","updated":"2026-01-02T03:04:05Z"}`)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) request() *http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// quick is a store that does not wait long.
func quick(cfg Config) *Store {
	s := New(cfg, "bucket")
	s.pause = time.Millisecond
	return s
}

// account writes the key of a service account, whose tokens come from a server.
func account(t *testing.T, tokens string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "reader@example.iam.gserviceaccount.com", "private_key_id": "k1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": tokens, "quota_project_id": "payer",
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "application_default_credentials.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const token = "ya29.a-token-of-the-tests"

// tokens is a server that gives tokens to service accounts and machines.
func tokens(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Metadata-Flavor", "Google")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const granted = `{"access_token":"` + token + `","expires_in":3600,"token_type":"Bearer"}`

// Where credentials come from.
func TestCredentials(t *testing.T) {
	good := tokens(t, http.StatusOK, granted)
	for _, test := range []struct {
		name string
		env  map[string]string
		cfg  Config
	}{
		{name: "credentials_file", cfg: Config{CredentialsFile: account(t, good)}},
		{name: "GOOGLE_APPLICATION_CREDENTIALS", env: map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": account(t, good)}},
		{name: "gcloud", env: map[string]string{"HOME": gcloud(t, account(t, good))}},
		{name: "the machine", env: map[string]string{"GCE_METADATA_HOST": strings.TrimPrefix(good, "http://")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, name := range []string{"GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST", emulator} {
				t.Setenv(name, "")
			}
			t.Setenv("HOME", t.TempDir())
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			a := serve(t, token, nil)
			test.cfg.Endpoint = a.URL
			o, err := quick(test.cfg).Stat(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if want := (store.Object{Key: "a", Size: 3, Version: "7", Modified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}); o != want {
				t.Errorf("the object is %+v, not %+v", o, want)
			}
			if got := a.request().Header.Get("X-Goog-User-Project"); test.name != "the machine" && got != "payer" {
				t.Errorf("the project of the credentials is %q", got)
			}
		})
	}
}

// gcloud is a home folder with credentials where gcloud leaves them.
func gcloud(t *testing.T, path string) string {
	t.Helper()
	home := t.TempDir()
	dir := filepath.Join(home, ".config", "gcloud")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Rename(path, filepath.Join(dir, filepath.Base(path)))); err != nil {
		t.Fatal(err)
	}
	return home
}

// Credentials that give no token, or a token that is not taken.
func TestCredentialsFail(t *testing.T) {
	t.Parallel()
	refused := `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`
	nonsense := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(nonsense, []byte("-----BEGIN PRIVATE KEY-----\nhush"), 0o600); err != nil {
		t.Fatal(err)
	}
	strange := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(strange, []byte(`{"type":"password","private_key":"hush"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		path  string
		class job.Class
		says  string
	}{
		{"refused", account(t, tokens(t, http.StatusBadRequest, refused)), job.Permanent, "400 invalid_grant Invalid JWT Signature"},
		{"failing", account(t, tokens(t, http.StatusInternalServerError, "")), job.Retry, "500"},
		{"no file", filepath.Join(t.TempDir(), "none.json"), job.Permanent, "credentials_file"},
		{"no JSON", nonsense, job.Permanent, "holds no credentials"},
		{"no kind", strange, job.Permanent, "can not be used"},
		{"another token", account(t, tokens(t, http.StatusOK, strings.Replace(granted, token, "other", 1))), job.Permanent, "renew them"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, token, nil)
			_, err := quick(Config{Endpoint: a.URL, CredentialsFile: test.path}).Stat(t.Context(), "a")
			sourcetest.WantError(t, err, test.class, "gs://bucket/a", test.says)
			if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("%q shows a key", err)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		asked := make(chan struct{})
		silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is seen
			close(asked)
			<-r.Context().Done()
		}))
		defer silent.Close()
		defer silent.CloseClientConnections()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		_, err := quick(Config{Endpoint: serve(t, token, nil).URL, CredentialsFile: account(t, silent.URL)}).Stat(ctx, "a")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ends with %v", err)
		}
	})
}

// What the server answers and what is made of it.
func TestAnswers(t *testing.T) {
	t.Parallel()
	said := func(reason, message string) string {
		return fmt.Sprintf(`{"error":{"code":1,"message":%q,"errors":[{"reason":%q}]}}`, message, reason)
	}
	for _, test := range []struct {
		name   string
		status int
		body   string
		cfg    Config
		class  job.Class
		says   string
	}{
		{"no right", 403, said("forbidden", "x@y does not have storage.objects.get access"), Config{}, job.Permanent, "roles/storage.objectViewer"},
		{"not public", 401, said("required", "Anonymous caller"), Config{Anonymous: true}, job.Permanent, "drop gcs.anonymous"},
		{"too many by reason", 403, said("rateLimitExceeded", "slow"), Config{}, job.SlowDown, "slow"},
		{"too many", 429, said("rateLimitExceeded", "slow"), Config{}, job.SlowDown, "429"},
		{"reader pays", 400, said("required", "Bucket is requester pays bucket but no user project provided."), Config{}, job.Permanent, "user_project"},
		{"moved", 302, "", Config{}, job.Permanent, "302"},
		{"long", 500, said("x", strings.Repeat("word ", 1000)), Config{}, job.Retry, "word …"},
		{"a page", 200, "<html>", Config{}, job.Retry, "can not be read"},
		{"no generation", 200, `{"name":"a","size":"1"}`, Config{}, job.Permanent, "generation"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			})
			test.cfg.Endpoint = a.URL
			if !test.cfg.Anonymous {
				test.cfg.CredentialsFile = account(t, tokens(t, http.StatusOK, granted))
			}
			_, err := quick(test.cfg).Stat(t.Context(), "a")
			sourcetest.WantError(t, err, test.class, "gs://bucket/a", test.says)
			if len(err.Error()) > 700 || strings.Contains(err.Error(), token) {
				t.Errorf("%q is too long, or shows the token", err)
			}
		})
	}
	t.Run("no such bucket", func(t *testing.T) {
		t.Parallel()
		err := New(Config{Endpoint: server.URL, Anonymous: true}, "none").List(t.Context(), "a", "", nil)
		sourcetest.WantError(t, err, job.Permanent, "gs://none/a", "no such bucket")
	})
	t.Run("no such host", func(t *testing.T) {
		t.Parallel()
		_, err := quick(Config{Endpoint: "http://nowhere.invalid", Anonymous: true}).Stat(t.Context(), "a")
		sourcetest.WantError(t, err, job.Permanent, "nowhere.invalid")
	})
	t.Run("not trusted", func(t *testing.T) {
		t.Parallel()
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		defer s.Close()
		_, err := quick(Config{Endpoint: s.URL, Anonymous: true}).Stat(t.Context(), "a")
		sourcetest.WantError(t, err, job.Permanent, "not trusted")
	})
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		s := httptest.NewServer(http.NotFoundHandler())
		s.Close()
		_, err := quick(Config{Endpoint: s.URL, Anonymous: true}).Stat(t.Context(), "a")
		sourcetest.WantError(t, err, job.Retry, "gs://bucket/a")
	})
}

// A listing that can not go on is an error, not an endless loop.
func TestListNonsense(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"the same page": `{"nextPageToken":"t"}`,
		"the order":     `{"items":[{"name":"b","size":"1","generation":"1"},{"name":"a","size":"1","generation":"1"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, "", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
			err := quick(Config{Endpoint: a.URL, Anonymous: true}).List(t.Context(), "", "", func(store.Object) error { return nil })
			sourcetest.WantError(t, err, job.Permanent, "gs://bucket/", name)
		})
	}
}

// What is asked of the server.
func TestRequests(t *testing.T) {
	t.Parallel()
	a := serve(t, "", nil)
	s := quick(Config{Endpoint: a.URL + "/storage/v1/", Anonymous: true, UserProject: "payer"})
	_, err := s.Read(t.Context(), store.Object{Key: "a b/ü", Size: 10, Version: "42"}, 2, 5)
	sourcetest.WantError(t, err, job.Retry, "bytes 2 to 4") // of this server
	r := a.request()
	query := r.URL.Query()
	for what, got := range map[string]string{
		"/storage/v1/b/bucket/o/a%20b%2F%C3%BC": r.URL.EscapedPath(),
		"42":                                    query.Get("ifGenerationMatch"),
		"media":                                 query.Get("alt"),
		"payer":                                 query.Get("userProject"),
		"bytes=2-4":                             r.Header.Get("Range"),
		"gzip":                                  r.Header.Get("Accept-Encoding"),
		"":                                      r.Header.Get("Authorization"),
	} {
		if got != what {
			t.Errorf("%q is sent in place of %q", got, what)
		}
	}
}

// The emulator that the environment names is asked without credentials.
func TestEmulator(t *testing.T) {
	put(t, "emulated", "x", "")
	for _, host := range []string{server.URL, server.URL + "/", strings.TrimPrefix(server.URL, "http://"), server.URL + "/storage/v1/"} {
		t.Setenv(emulator, host)
		if _, err := New(Config{}, gcstest.Bucket).Stat(t.Context(), "emulated"); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	t.Setenv(emulator, "http://nowhere.invalid")
	if _, err := New(Config{Endpoint: server.URL, Anonymous: true}, gcstest.Bucket).Stat(t.Context(), "emulated"); err != nil {
		t.Errorf("the endpoint of the configuration does not outrank the environment: %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg  Config
		says string // "": right
	}{
		{Config{}, ""},
		{Config{Endpoint: "http://localhost:4443", Anonymous: true, UserProject: "p"}, ""},
		{Config{CredentialsFile: "key.json"}, ""},
		{Config{Endpoint: "localhost:4443"}, "gcs.endpoint"},
		{Config{Endpoint: "https://user:pass@host"}, "gcs.endpoint"},
		{Config{Anonymous: true, CredentialsFile: "key.json"}, "gcs.anonymous"},
	} {
		all := test.cfg.Validate()
		switch {
		case len(all) == 0 && test.says != "":
			t.Errorf("%+v is right, and should not be for its %s", test.cfg, test.says)
		case len(all) > 0 && (test.says == "" || !strings.Contains(all.Error(), test.says)):
			t.Errorf("%+v: %v does not name %q", test.cfg, all, test.says)
		}
	}
}
