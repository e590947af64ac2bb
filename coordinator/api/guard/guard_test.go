package guard_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"drayage/coordinator/api/guard"
)

const (
	first  = "first-token-0123456789"
	second = "second-token-0123456789"
)

func config() guard.Config { return guard.Config{Session: time.Hour, Rate: 1000, Streams: 1} }

// guarded is a handler that says who asks, for the role.
func guarded(t *testing.T, cfg guard.Config, addr string, role guard.Role) (*guard.Guard, http.Handler) {
	t.Helper()
	g, err := guard.New(cfg, addr, zerolog.Nop(), func(w http.ResponseWriter, _ *http.Request, why guard.Refusal) {
		http.Error(w, why.Detail+"\n"+why.Hint, why.Status)
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, g.Handler(g.Require(role, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := guard.Of(r.Context())
		fmt.Fprintf(w, "%s %s %t", who.Name, who.Role, who.LoggedIn())
	})))
}

func ask(h http.Handler, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://dray.example/", nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// What would let strangers in, or can not be read, is refused at the start, and
// no token stands in the error.
func TestRefusedConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("# none yet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*guard.Config)
		addr   string
		name   string // of the variable; empty: it is fine
	}{
		"loopback":         {nil, "127.0.0.1:8390", ""},
		"loopback 6":       {nil, "[::1]:8390", ""},
		"localhost":        {nil, "localhost:8390", ""},
		"everywhere":       {nil, "0.0.0.0:8390", "DRAY_HTTP_ADDR"},
		"everywhere too":   {nil, ":8390", "DRAY_HTTP_ADDR"},
		"a name":           {nil, "dray.example:8390", "DRAY_HTTP_ADDR"},
		"insecure":         {func(c *guard.Config) { c.Insecure = true }, "0.0.0.0:8390", ""},
		"tokens":           {func(c *guard.Config) { c.Tokens = "read:a:" + first }, "0.0.0.0:8390", ""},
		"insecure tokens":  {func(c *guard.Config) { c.Tokens, c.Insecure = "read:a:"+first, true }, "0.0.0.0:8390", "DRAY_HTTP_INSECURE"},
		"a short token":    {func(c *guard.Config) { c.Tokens = "read:a:secret" }, "127.0.0.1:1", "DRAY_HTTP_TOKENS"},
		"no role":          {func(c *guard.Config) { c.Tokens = "root:a:" + first }, "127.0.0.1:1", "DRAY_HTTP_TOKENS"},
		"no name":          {func(c *guard.Config) { c.Tokens = "read::" + first }, "127.0.0.1:1", "DRAY_HTTP_TOKENS"},
		"a token alone":    {func(c *guard.Config) { c.Tokens = first }, "127.0.0.1:1", "DRAY_HTTP_TOKENS"},
		"swapped":          {func(c *guard.Config) { c.Tokens = "read:" + first + ":viewer" }, "127.0.0.1:1", "DRAY_HTTP_TOKENS"},
		"swapped, long":    {func(c *guard.Config) { c.Tokens = "read:" + first + ":grafana-production-eu" }, "127.0.0.1:1", "DRAY_HTTP_TOKENS"},
		"token first":      {func(c *guard.Config) { c.Tokens = first + ":read:viewer" }, "127.0.0.1:1", "DRAY_HTTP_TOKENS"},
		"a long name":      {func(c *guard.Config) { c.Tokens = "read:grafana-production-eu1:" + first }, "127.0.0.1:1", ""},
		"half a digest":    {func(c *guard.Config) { c.Tokens = "read:a:sha256:" + first }, "127.0.0.1:1", "DRAY_HTTP_TOKENS"},
		"a name of two":    {func(c *guard.Config) { c.Tokens = "read:a:" + first + ",admin:a:" + second }, "127.0.0.1:1", "DRAY_HTTP_TOKENS"},
		"an empty file":    {func(c *guard.Config) { c.TokensFile = file }, "127.0.0.1:1", "DRAY_HTTP_TOKENS_FILE"},
		"no file":          {func(c *guard.Config) { c.TokensFile = file + "x" }, "127.0.0.1:1", "DRAY_HTTP_TOKENS_FILE"},
		"half a pair":      {func(c *guard.Config) { c.Cert = file }, "127.0.0.1:1", "DRAY_HTTP_CERT"},
		"a short key":      {func(c *guard.Config) { c.SessionFile = file }, "127.0.0.1:1", "DRAY_HTTP_SESSION_KEY_FILE"},
		"no origin":        {func(c *guard.Config) { c.Origins = []string{"dray"} }, "127.0.0.1:1", "DRAY_HTTP_ORIGINS"},
		"no requests":      {func(c *guard.Config) { c.Rate = 0 }, "127.0.0.1:1", "DRAY_HTTP_RATE"},
		"no streams":       {func(c *guard.Config) { c.Streams = 0 }, "127.0.0.1:1", "DRAY_HTTP_STREAMS"},
		"an endless login": {func(c *guard.Config) { c.Session = 1e4 * time.Hour }, "127.0.0.1:1", "DRAY_HTTP_SESSION"},
	} {
		cfg := config()
		if c.change != nil {
			c.change(&cfg)
		}
		_, err := guard.New(cfg, c.addr, zerolog.Nop(), nil)
		var setting *guard.SettingError
		switch {
		case c.name == "" && err != nil:
			t.Errorf("%s: %v", what, err)
		case c.name != "" && (!errors.As(err, &setting) || setting.Name != c.name):
			t.Errorf("%s: %v", what, err)
		case err != nil && strings.Contains(err.Error(), first):
			t.Errorf("%s shows a token: %v", what, err)
		}
	}
}

// Tokens are read again when their file changes: a new one is good and one that
// is gone is not, with the sessions made of it. A file that is broken changes
// nothing.
func TestRotation(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens")
	at := time.Now().Add(-time.Hour)
	write := func(text string) {
		t.Helper()
		at = at.Add(time.Minute) // the clock of the file, whatever that of the machine
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	digest := sha256.Sum256([]byte(second))
	write("operate:ci:" + first + " # until the new one is everywhere\n")
	cfg := config()
	cfg.TokensFile = file
	g, h := guarded(t, cfg, "0.0.0.0:1", guard.Operate)
	if w := ask(h, bearer(first)); w.Code != 200 || w.Body.String() != "ci operate true" {
		t.Fatalf("it is %d %s", w.Code, w.Body)
	}
	login := httptest.NewRecorder()
	form := httptest.NewRequest(http.MethodPost, "http://dray.example/login", strings.NewReader(url.Values{"token": {first}, "next": {"/jobs/x"}}.Encode()))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form.Header.Set("Origin", "https://dray.example")
	g.Login(nil).ServeHTTP(login, form)
	cookies := login.Result().Cookies()
	if login.Code != http.StatusSeeOther || login.Header().Get("Location") != "/jobs/x" || len(cookies) != 1 {
		t.Fatalf("the login is %d %v", login.Code, login.Header())
	}
	c := cookies[0]
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.MaxAge != 3600 || strings.Contains(c.Value, first) {
		t.Errorf("the cookie is %+v", c)
	}
	session := func(r *http.Request) { r.AddCookie(c) }
	if w := ask(h, session); w.Code != 200 || w.Body.String() != "ci operate true" {
		t.Errorf("the session is %d %s", w.Code, w.Body)
	}
	for _, forged := range []string{"", "x", c.Value + "x", strings.Replace(c.Value, ".", ".A", 1), "eyJ0IjoiIiwidSI6OTk5OTk5OTk5OX0." + strings.Split(c.Value, ".")[1]} {
		if w := ask(h, func(r *http.Request) { r.AddCookie(&http.Cookie{Name: c.Name, Value: forged}) }); w.Code != http.StatusUnauthorized {
			t.Errorf("the session %q is %d", forged, w.Code)
		}
	}
	soon := func(what string, change func(*http.Request), code int) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ask(h, change).Code != code; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s is not %d", what, code)
			}
		}
	}
	write("operate:ci:" + first + "\noperate:ci:sha256:" + hex.EncodeToString(digest[:]))
	soon("the new token", bearer(second), 200)
	if w := ask(h, bearer(first)); w.Code != 200 {
		t.Errorf("the old one is %d", w.Code)
	}
	write("operate:ci:" + second + "\nbroken\n")
	if w := ask(h, bearer(first)); w.Code != 200 {
		t.Errorf("with a broken file the old one is %d", w.Code)
	}
	write("operate:ci:" + second)
	soon("the old token", bearer(first), http.StatusUnauthorized)
	if w := ask(h, session); w.Code != http.StatusUnauthorized {
		t.Errorf("the session of the old token is %d", w.Code)
	}
	write("# all gone\n")
	soon("the last token", bearer(second), http.StatusUnauthorized)
	if w := ask(h, nil); w.Code != http.StatusUnauthorized {
		t.Errorf("without any token left it is %d", w.Code)
	}

	out := httptest.NewRecorder()
	g.Logout().ServeHTTP(out, httptest.NewRequest(http.MethodPost, "/logout", nil))
	if gone := out.Result().Cookies(); len(gone) != 1 || gone[0].MaxAge >= 0 {
		t.Errorf("logged out with %v", gone)
	}
}

// A session is over after its time.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.Tokens, cfg.SessionFile = "read:a:"+first, key
	g, _ := guarded(t, cfg, "127.0.0.1:1", guard.Read)
	_, other := guarded(t, cfg, "127.0.0.1:1", guard.Read) // another coordinator with the same key
	form := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("token="+first+"&next=//evil.example"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	login := httptest.NewRecorder()
	g.Login(nil).ServeHTTP(login, form)
	c := login.Result().Cookies()[0]
	if c.Secure || login.Header().Get("Location") != "/" {
		t.Errorf("the cookie is %+v, on to %s", c, login.Header().Get("Location"))
	}
	if w := ask(other, func(r *http.Request) { r.AddCookie(c) }); w.Code != 200 {
		t.Errorf("at another coordinator it is %d", w.Code)
	}
	if old := guard.ExpiredCookie(g, first); old == nil {
		t.Error("no cookie")
	} else if w := ask(other, func(r *http.Request) { r.AddCookie(old) }); w.Code != http.StatusUnauthorized {
		t.Errorf("after its time it is %d", w.Code)
	}
	bad := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("token=guess-guess-guess-guess"))
	bad.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	refused := false
	g.Login(func(_ http.ResponseWriter, _ *http.Request, why guard.Refusal) {
		refused = why.Status == http.StatusUnauthorized
	}).ServeHTTP(httptest.NewRecorder(), bad)
	if !refused {
		t.Error("a guess was let in")
	}
}

// One client that asks too often does not hold up another, nor does a name that
// is none of the server's reach it.
func TestLimits(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Rate, cfg.Hosts = 1, []string{"dray.example"}
	_, h := guarded(t, cfg, "127.0.0.1:1", guard.Read)
	codes := map[int]int{}
	for range 20 {
		codes[ask(h, nil).Code]++
	}
	if codes[200] < 4 || codes[429] < 10 {
		t.Errorf("the answers are %v", codes)
	}
	if w := ask(h, func(r *http.Request) { r.RemoteAddr = "192.0.2.77:1" }); w.Code != 200 {
		t.Errorf("another client has %d", w.Code)
	}
	from := func(host string) func(*http.Request) {
		return func(r *http.Request) { r.Host, r.RemoteAddr = host, "192.0.2."+fmt.Sprint(len(host))+":1" }
	}
	for host, code := range map[string]int{"DRAY.example:8390": 200, "localhost": 200, "127.0.0.1:8390": 200, "[::1]:8390": 200, "x.localhost:1": 200, "evil.example": 421, "192.0.2.1": 421} {
		if w := ask(h, from(host)); w.Code != code {
			t.Errorf("the host %s has %d", host, w.Code)
		}
	}
	big := httptest.NewRequest(http.MethodPost, "http://dray.example/", bytes.NewReader(make([]byte, 2<<20)))
	var read error
	g, _ := guarded(t, config(), "127.0.0.1:1", guard.Read)
	g.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, read = new(bytes.Buffer).ReadFrom(r.Body) })).ServeHTTP(httptest.NewRecorder(), big)
	if !errors.As(read, new(*http.MaxBytesError)) {
		t.Errorf("a body of 2 MiB: %v", read)
	}
}

// A certificate that is replaced is served without a restart.
func TestCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config()
	cfg.Cert, cfg.Key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(serial int64) {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		cert := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
		der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(serial) * time.Minute)
		for name, block := range map[string]*pem.Block{cfg.Cert: {Type: "CERTIFICATE", Bytes: der}, cfg.Key: {Type: "PRIVATE KEY", Bytes: private}} {
			if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	g, _ := guarded(t, cfg, "127.0.0.1:1", guard.Read)
	if _, err := g.TLS(); err == nil || !strings.Contains(err.Error(), "DRAY_HTTP_CERT") {
		t.Errorf("without the file: %v", err)
	}
	write(1)
	c, err := g.TLS()
	if err != nil || c.MinVersion < tls.VersionTLS12 {
		t.Fatalf("it is %+v (%v)", c, err)
	}
	serial := func() int64 {
		t.Helper()
		pair, err := c.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	if serial() != 1 {
		t.Error("it is not the first")
	}
	write(2)
	for deadline := time.Now().Add(time.Minute); serial() != 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the second is not served")
		}
	}
}

func TestLocalPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/jobs/x?a=b": "/jobs/x?a=b", "": "/", "//evil.example": "/", "/\\evil.example": "/", "https://evil.example": "/", "/a\tb": "/", "jobs": "/",
	} {
		if got := guard.LocalPath(in); got != want {
			t.Errorf("%q leads to %q", in, got)
		}
	}
}
