package azure

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"pgregory.net/rapid"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
	"drayage/pkg/source/sourcetest"
	"drayage/pkg/testkit/azuretest"
)

// alone takes away what the environment of the tests may say of Azure.
func alone(t *testing.T, set map[string]string) {
	t.Helper()
	for _, name := range []string{
		"AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_KEY",
		"AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SERVICE_ENDPOINT",
	} {
		t.Setenv(name, set[name])
	}
}

const otherKey = "b3RoZXIga2V5IG9mIHRoZSB0ZXN0cw=="

// connection is a connection string of the server.
func connection(key string) string {
	return fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;", azuretest.Account, key, server.Endpoint())
}

// signed is a signature of the container that ends at a time.
func signed(t *testing.T, ends time.Time, permissions sas.ContainerPermissions) string {
	t.Helper()
	c, err := server.Client(azuretest.Container)
	if err != nil {
		t.Fatal(err)
	}
	url, err := c.GetSASURL(permissions, ends, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(url, "?")
	return query
}

// Every way to prove who one is, with the real server.
func TestCredentials(t *testing.T) {
	put(t, azuretest.Container, "in/object", "x", "")
	put(t, azuretest.Public, "in/object", "x", "")
	valid := signed(t, time.Now().Add(time.Hour), sas.ContainerPermissions{Read: true, List: true})
	past := signed(t, time.Now().Add(-time.Hour), sas.ContainerPermissions{Read: true, List: true})
	blind := signed(t, time.Now().Add(time.Hour), sas.ContainerPermissions{Read: true})
	at := Config{Account: azuretest.Account, Endpoint: server.Endpoint()}
	with := func(change func(*Config)) Config { c := at; change(&c); return c }
	for _, test := range []struct {
		name   string
		env    map[string]string
		cfg    Config
		public bool
		says   []string // of the error; none: it works
	}{
		{name: "account_key", cfg: with(func(c *Config) { c.AccountKey = azuretest.Key })},
		{name: "connection_string", cfg: Config{ConnectionString: connection(azuretest.Key)}},
		{name: "sas_token", cfg: with(func(c *Config) { c.SASToken = valid })},
		{name: "sas_token of a URL", cfg: with(func(c *Config) { c.SASToken = "?" + valid })},
		{name: "anonymous", cfg: with(func(c *Config) { c.Anonymous = true }), public: true},
		{name: "environment: connection string", env: map[string]string{"AZURE_STORAGE_CONNECTION_STRING": connection(azuretest.Key)}},
		{name: "environment: key", env: map[string]string{
			"AZURE_STORAGE_ACCOUNT": azuretest.Account, "AZURE_STORAGE_KEY": azuretest.Key, "AZURE_STORAGE_SERVICE_ENDPOINT": server.Endpoint(),
		}},
		{name: "environment: key, as adlfs has it", env: map[string]string{
			"AZURE_STORAGE_ACCOUNT_NAME": azuretest.Account, "AZURE_STORAGE_ACCOUNT_KEY": azuretest.Key,
		}, cfg: Config{Endpoint: server.Endpoint()}},
		{name: "environment: signature", env: map[string]string{"AZURE_STORAGE_SAS_TOKEN": valid}, cfg: at},

		{name: "another key", cfg: with(func(c *Config) { c.AccountKey = otherKey }), says: []string{"403", "azure.account_key", "key"}},
		{name: "no key", cfg: with(func(c *Config) { c.AccountKey = "no base64" }), says: []string{"azure.account_key", "base64"}},
		{name: "a signature that has ended", cfg: with(func(c *Config) { c.SASToken = past }), says: []string{"403", "azure.sas_token"}},
		{name: "a signature without the right to list", cfg: with(func(c *Config) { c.SASToken = blind }), says: []string{"403", "read and to list"}},
		{name: "not public", cfg: with(func(c *Config) { c.Anonymous = true }), says: []string{"anonymous"}},
		{name: "a key of another account", env: map[string]string{"AZURE_STORAGE_ACCOUNT": "other", "AZURE_STORAGE_KEY": azuretest.Key}, cfg: at, says: []string{"no request can be made"}},
		{name: "nothing", says: []string{"AZURE_STORAGE_ACCOUNT"}},
		{name: "a key of nobody", cfg: Config{Endpoint: server.Endpoint(), AccountKey: azuretest.Key}, says: []string{"azure: {account: NAME}"}},
		{name: "a connection string that is none", env: map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "hush-hush"}, says: []string{"AZURE_STORAGE_CONNECTION_STRING", "no connection string"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			alone(t, test.env)
			in := azuretest.Container
			if test.public {
				in = azuretest.Public
			}
			s := open(t, test.cfg, in)
			var got []string
			err := s.List(t.Context(), "in/", "", func(o store.Object) error {
				got = append(got, o.Key)
				return nil
			})
			if len(test.says) > 0 {
				sourcetest.WantError(t, err, job.Permanent, append(test.says, "az://"+in+"/in/")...)
				for _, secret := range []string{azuretest.Key, otherKey, "hush-hush", signature(past), signature(blind)} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%q shows a secret", err)
					}
				}
				return
			}
			if err != nil || !slices.Equal(got, []string{"in/object"}) {
				t.Errorf("%q is listed: %v", got, err)
			}
			if o, err := s.Stat(t.Context(), "in/object"); err != nil || o.Size != 1 {
				t.Errorf("the object is %+v: %v", o, err)
			}
		})
	}
	t.Run("no such container", func(t *testing.T) {
		alone(t, nil)
		err := open(t, Config{ConnectionString: connection(azuretest.Key)}, "none").List(t.Context(), "a", "", nil)
		sourcetest.WantError(t, err, job.Permanent, "az://none/a", "no such container")
	})
}

// The identity of the machine asks for a token, which the service gets.
func TestMachine(t *testing.T) {
	const token = "a-token-of-the-tests"
	var status atomic.Int64
	status.Store(http.StatusBadRequest)
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.FormValue("resource"), "https://storage.azure.com") {
			t.Errorf("the token is for %q", r.FormValue("resource"))
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Load()))
		fmt.Fprintf(w, `{"access_token":%q,"expires_on":"%d","resource":"https://storage.azure.com","token_type":"Bearer"}`, token, time.Now().Add(time.Hour).Unix())
	}))
	t.Cleanup(machine.Close)
	blobs := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("ETag", `"0x1"`)
		w.Header().Set("Content-Length", "3")
	}))
	t.Cleanup(blobs.Close)
	alone(t, nil)
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"} {
		t.Setenv(name, "") // so that the test puts it back
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "prod") // no tools of developers
	t.Setenv("IDENTITY_ENDPOINT", machine.URL)
	t.Setenv("IDENTITY_HEADER", "header-of-the-tests")
	store := func() *Store {
		s := open(t, Config{Endpoint: blobs.URL}, "container")
		s.http = blobs.Client().Transport // knows its certificate
		return s
	}
	_, err := store().Stat(t.Context(), "a")
	sourcetest.WantError(t, err, job.Permanent, "az://container/a")
	if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "header-of-the-tests") {
		t.Errorf("%q shows a secret", err)
	}
	// What is given is kept for the whole process.
	status.Store(http.StatusOK)
	if o, err := store().Stat(t.Context(), "a"); err != nil || o.Size != 3 || o.Version != "0x1" {
		t.Errorf("the object is %+v: %v", o, err)
	}
}

func TestTokenless(t *testing.T) {
	t.Parallel()
	for status, class := range map[int]job.Class{http.StatusBadRequest: job.Permanent, http.StatusUnauthorized: job.Permanent, http.StatusTooManyRequests: job.Retry, http.StatusBadGateway: job.Retry} {
		s := open(t, Config{}, "container")
		answer := httptest.NewRecorder()
		answer.WriteHeader(status)
		res := answer.Result()
		res.Request = httptest.NewRequest(http.MethodGet, "/", nil)
		err := s.failure(t.Context(), "az://container/a", fmt.Errorf("chain: %w", &azidentity.AuthenticationFailedError{RawResponse: res}))
		sourcetest.WantError(t, err, class, fmt.Sprint(status), "az login")
	}
}

// Data Lake Storage lists in an order of its own, and its folders as well.
func TestDataLake(t *testing.T) {
	t.Parallel()
	// As an account with a hierarchical namespace lists, folders with their slash.
	entries := []string{"A/", "A/dat1", "A-B/", "A-B/dat2", "A-B-C", "A-C", "A.C/", "A.C/dat3", "AB/", "AB/AB", "AB/dat4", "AB.txt", "ABC"}
	var starts atomic.Value
	lake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		starts.Store(r.FormValue("startFrom"))
		var b strings.Builder
		begin := 0
		if marker := r.FormValue("marker"); marker != "" {
			_, _ = fmt.Sscan(marker, &begin)
		}
		end := min(begin+4, len(entries))
		b.WriteString(`<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>`)
		for _, e := range entries[begin:end] {
			name, isFolder := strings.CutSuffix(e, "/")
			kind := "file"
			if isFolder {
				kind = "directory"
			}
			fmt.Fprintf(&b, "<Blob><Name>%s</Name><Properties><Etag>0x1</Etag><Content-Length>1</Content-Length><ResourceType>%s</ResourceType></Properties></Blob>", name, kind)
		}
		b.WriteString("</Blobs>")
		if end < len(entries) {
			fmt.Fprintf(&b, "<NextMarker>%d</NextMarker>", end)
		}
		b.WriteString("</EnumerationResults>")
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, b.String())
	}))
	t.Cleanup(lake.Close)
	s := open(t, Config{Endpoint: lake.URL, Anonymous: true}, "container")
	files := slices.DeleteFunc(slices.Clone(entries), func(e string) bool { return strings.HasSuffix(e, "/") })
	for i := range len(files) + 1 {
		after := ""
		if i > 0 {
			after = files[i-1]
		}
		var got []string
		err := s.List(t.Context(), "", after, func(o store.Object) error {
			got = append(got, o.Key)
			return nil
		})
		if err != nil || !slices.Equal(got, files[i:]) {
			t.Errorf("after %q there are %q, not %q: %v", after, got, files[i:], err)
		}
		if start := starts.Load(); start != after {
			t.Errorf("the listing after %q is asked to start at %q", after, start)
		}
	}
	entries = []string{"b", "a"}
	err := s.List(t.Context(), "", "", func(store.Object) error { return nil })
	sourcetest.WantError(t, err, job.Permanent, `"a" after "b"`)
}

// ordinal is the order of UTF-16.
func TestOrdinal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.StringOfN(rapid.RuneFrom([]rune("a/\x01\u00e4\ud7ff\ue000\uff5e\U0001f600\U0010ffff")), 0, 4, -1)
		a, b := one.Draw(t, "a"), one.Draw(t, "b")
		if want := slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b))); ordinal(a, b) != want {
			t.Fatalf("%q and %q: %d, not %d", a, b, ordinal(a, b), want)
		}
	})
}

// Addresses that name the host of an account.
func TestHosts(t *testing.T) {
	t.Parallel()
	for bucket, want := range map[string]string{
		"mine.blob.core.windows.net":         "mine.blob.core.windows.net",
		"Mine.DFS.core.windows.net":          "mine.blob.core.windows.net",
		"mine.blob.core.usgovcloudapi.net":   "mine.blob.core.usgovcloudapi.net",
		"mine.z12.blob.storage.azure.net":    "mine.z12.blob.storage.azure.net",
		"mine.queue.core.windows.net":        "",
		"blob.core.windows.net":              "",
		"mine.blob.core.windows.net.evil.io": "",
		"example.com":                        "",
		"localhost:10000":                    "",
	} {
		s, err := New(Config{}, bucket)
		switch {
		case want == "" && err == nil:
			t.Errorf("%s is taken for %s", bucket, s.host)
		case want == "":
			sourcetest.WantError(t, err, job.Permanent, bucket, "azure: {endpoint: …}")
		case err != nil || s.host != want:
			t.Errorf("%s is %q, not %q: %v", bucket, s.host, want, err)
		}
	}
}

// product reaches the server under the host of an account.
type product struct{ http.RoundTripper }

func (p product) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Host = req.URL.Host
	req.URL.Scheme, req.URL.Host = "http", strings.TrimPrefix(server.URL, "http://")
	return p.RoundTripper.RoundTrip(req)
}

// The container is the first part of the keys of an account.
func TestAccount(t *testing.T) {
	t.Parallel()
	s := open(t, Config{AccountKey: azuretest.Key}, azuretest.Account+".blob.core.windows.net")
	s.http = product{s.http}
	in := azuretest.Container + "/account/"
	for i := range page + 1 {
		put(t, azuretest.Container, fmt.Sprint("account/", i), "x", "")
	}
	var got []string
	err := s.List(t.Context(), in, in+"2", func(o store.Object) error {
		got = append(got, o.Key)
		return nil
	})
	if want := []string{in + "3", in + "4", in + "5"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q is listed, not %q: %v", got, want, err)
	}
	o, err := s.Stat(t.Context(), in+"1")
	if err != nil || o.Key != in+"1" {
		t.Fatalf("the object is %+v: %v", o, err)
	}
	r, err := s.Read(t.Context(), o, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	_, err = s.Stat(t.Context(), "account/none")
	sourcetest.WantError(t, err, job.Permanent, "az://"+azuretest.Account+".blob.core.windows.net/account/none", "no such container")
	err = s.List(t.Context(), "cont", "", nil)
	sourcetest.WantError(t, err, job.Permanent, "names no container")
}

// What answers and failures mean.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		code   string
		class  job.Class
		is     error
		says   string
	}{
		{404, "BlobNotFound", job.Permanent, store.ErrNotFound, ""},
		{404, "ContainerNotFound", job.Permanent, nil, "no such container"},
		{409, "BlobArchived", job.Permanent, nil, "rehydrate"},
		{409, "PublicAccessNotPermitted", job.Permanent, nil, "azure.anonymous"},
		{403, "AuthorizationFailure", job.Permanent, nil, "firewall"},
		{403, "", job.Permanent, nil, "Storage Blob Data Reader"},
		{400, "OutOfRangeInput", job.Permanent, nil, "OutOfRangeInput"},
		{302, "", job.Permanent, nil, "302"},
		{503, "ServerBusy", job.SlowDown, nil, "ServerBusy"},
		{500, "OperationTimedOut", job.Retry, nil, "OperationTimedOut"},
	} {
		a := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("x-ms-error-code", test.code)
			w.Header().Set("Location", "http://elsewhere.invalid/")
			w.WriteHeader(test.status)
		}))
		s := open(t, Config{Endpoint: a.URL, SASToken: "sv=2026-01-01&sig=hush%2Bhush%3D"}, "container")
		s.pause = time.Millisecond
		_, err := s.Stat(t.Context(), "a")
		a.Close()
		sourcetest.WantError(t, err, test.class, "az://container/a", test.says)
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%q is not %q", err, test.is)
		}
		// Nobody listens any more.
		_, err = s.Stat(t.Context(), "a")
		sourcetest.WantError(t, err, job.Retry, "az://container/a")
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%q shows the signature", err)
		}
	}
	s := open(t, Config{Endpoint: "http://nowhere.invalid", SASToken: "sig=hush"}, "container")
	s.pause = time.Millisecond
	_, err := s.Stat(t.Context(), "a")
	sourcetest.WantError(t, err, job.Permanent, "nowhere.invalid")
}

func TestConnectionStrings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text string
		want identity
		err  string
	}{
		{text: "UseDevelopmentStorage=true", want: identity{endpoint: emulatorEndpoint, account: emulatorAccount, key: emulatorKey}},
		{text: "DefaultEndpointsProtocol=https;AccountName=mine;AccountKey=a2V5==;EndpointSuffix=core.windows.net", want: identity{endpoint: "https://mine.blob.core.windows.net", account: "mine", key: "a2V5=="}},
		{text: "BlobEndpoint=https://mine.blob.core.windows.net/;SharedAccessSignature=?sv=1&sig=x", want: identity{endpoint: "https://mine.blob.core.windows.net/", sas: "sv=1&sig=x"}},
		{text: "AccountName=mine", err: "neither AccountKey"},
		{text: "AccountKey=a2V5", err: "neither AccountName"},
		{text: "BlobEndpoint=https://x;AccountKey=a2V5", err: "without an AccountName"},
		{text: "a2V5", err: "no connection string"},
	} {
		got, err := parseConnection(test.text)
		switch {
		case (err != nil) != (test.err != ""), err != nil && !strings.Contains(err.Error(), test.err):
			t.Errorf("%q: %v, not %q", test.text, err, test.err)
		case err == nil && got != test.want:
			t.Errorf("%q is %+v, not %+v", test.text, got, test.want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg  Config
		says string // "": right
	}{
		{Config{}, ""},
		{Config{Account: "a", Endpoint: "http://127.0.0.1:10000/a", AccountKey: "k"}, ""},
		{Config{ConnectionString: "UseDevelopmentStorage=true"}, ""},
		{Config{Endpoint: "127.0.0.1:10000"}, "azure.endpoint"},
		{Config{Endpoint: "https://a.blob.core.windows.net/?sig=x"}, "azure.endpoint"},
		{Config{ConnectionString: "x"}, "azure.connection_string"},
		{Config{ConnectionString: "UseDevelopmentStorage=true", Account: "a"}, "azure.connection_string"},
		{Config{AccountKey: "k", SASToken: "s"}, "azure.account_key"},
		{Config{Anonymous: true, SASToken: "s"}, "more than one"},
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
