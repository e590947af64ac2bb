package allow_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"drayage/pkg/allow"
	"drayage/pkg/job"
)

const canary = "canary-2b71"

func rules(t *testing.T, cfg allow.Config) *allow.Rules {
	t.Helper()
	r, err := allow.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// isRefused reports whether err says what is not allowed.
func isRefused(err error) bool {
	var refused *job.RefusedError
	return errors.As(err, &refused) && job.ClassOf(err) == job.Permanent && !strings.Contains(err.Error(), canary)
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, cfg := range []allow.Config{
		{Paths: []string{"relative"}}, {Paths: []string{"/a/**"}}, {Paths: []string{"/a/["}}, {Paths: []string{""}},
		{Hosts: []string{"http://x"}}, {Hosts: []string{"a.*.b"}}, {Hosts: []string{"x:0"}}, {Hosts: []string{"x:http"}}, {Hosts: []string{""}},
		{Env: []string{"A*B"}}, {Env: []string{""}},
	} {
		if r, err := allow.New(cfg); err == nil {
			t.Errorf("%+v makes %+v", cfg, r)
		}
	}
}

func TestEnv(t *testing.T) {
	t.Setenv("SHOP_URL", "x")
	t.Setenv("DRAY_CLICKHOUSE_PASSWORD", canary)
	t.Setenv("CLICKHOUSE_PASSWORD", canary)
	some := rules(t, allow.Config{Env: []string{"SHOP_URL", "LAKE_*"}})
	all := rules(t, allow.Config{Env: []string{"*"}})
	for _, tt := range []struct {
		rules *allow.Rules
		name  string
		ok    bool
	}{
		{nil, "SHOP_URL", true}, {some, "SHOP_URL", true}, {some, "LAKE_KEY", true}, {all, "HOME", true},
		{some, "SHOP_URL2", false}, {some, "HOME", false}, {rules(t, allow.Config{}), "SHOP_URL", false},
		{nil, "DRAY_CLICKHOUSE_PASSWORD", false}, {all, "DRAY_CLICKHOUSE_PASSWORD", false}, {all, "CLICKHOUSE_PASSWORD", false}, {all, "NATS_URL", false},
	} {
		value, set, err := tt.rules.LookupEnv(tt.name)
		if tt.ok != (err == nil) || !tt.ok && (!isRefused(err) || value != "" || set) {
			t.Errorf("%s of %+v: %q, %v", tt.name, tt.rules, value, err)
		}
	}
}

func TestPaths(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"in/a.csv", "in/deep/b.csv", "own/password", "in/key", "teams/red/in/c.csv", "teams/red/private/d.csv", "one.csv", "one.csv2", "inside/x"} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(canary), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"in/out": at("own"), "in/file": at("own/password"), "in/near": "deep/b.csv", "in/far": at("in/deep"), "way": at("in"), "in/up": ".."} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	// A password file within what is allowed stays the service's own.
	t.Setenv("DRAY_CLICKHOUSE_PASSWORD_FILE", at("in/key"))
	r := rules(t, allow.Config{Paths: []string{at("in"), at("teams/*/in"), at("one.csv")}})
	for path, ok := range map[string]bool{
		"in/a.csv": true, "in/deep/b.csv": true, "in/deep/../a.csv": true, "in/near": true, "in/far/b.csv": true, "one.csv": true, "teams/red/in/c.csv": true,
		"own/password": false, "in/../own/password": false, "in/out/password": false, "in/file": false, "in/up/own/password": false,
		"inside/x": false, "one.csv2": false, "teams/red/private/d.csv": false, "teams/red/in/../private/d.csv": false, "in/key": false,
	} {
		text, err := r.ReadFile(at(path))
		if ok && (err != nil || string(text) != canary) || !ok && (!isRefused(err) || text != nil) {
			t.Errorf("reading %s: %q, %v", path, text, err)
		}
		if path == "in/key" {
			continue // it may be looked at
		}
		if _, err := r.Stat(at(path)); ok != (err == nil) {
			t.Errorf("looking at %s: %v", path, err)
		}
	}
	all := rules(t, allow.Config{Paths: []string{"*"}})
	for _, path := range []string{"/proc/self/environ", "/proc/1/environ", "/sys/kernel/version", "/dev/stdin"} {
		if _, err := all.ReadFile(path); !isRefused(err) {
			t.Errorf("reading %s: %v", path, err)
		}
	}
	if _, err := all.ReadFile(at("own/password")); err != nil {
		t.Error(err)
	}
	if _, err := rules(t, allow.Config{}).ReadFile(at("in/a.csv")); !isRefused(err) {
		t.Errorf("nothing is allowed, and reading gives %v", err)
	}
	if _, err := r.ReadFile(at("in/missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is missing gives %v", err)
	}
	if _, err := r.ReadFile(at("own/missing")); !isRefused(err) {
		t.Errorf("whether a file is there is told: %v", err)
	}
	// On the way to what is allowed, only what leads there is seen.
	entries, err := r.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if err != nil || strings.Join(names, " ") != "in one.csv teams" {
		t.Errorf("the folder above shows %v, %v", names, err)
	}
}

// TestPathSwapped: what is put in the place of a file after it was judged is not
// read.
func TestPathSwapped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"in/sub/a": "fine", "out/a": canary} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := rules(t, allow.Config{Paths: []string{filepath.Join(dir, "in")}})
	sub, kept := filepath.Join(dir, "in", "sub"), filepath.Join(dir, "in", "kept")
	stop, swapped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				swapped <- nil
				return
			default:
			}
			if err := errors.Join(os.Rename(sub, kept), os.Symlink(filepath.Join(dir, "out"), sub), os.Remove(sub), os.Rename(kept, sub)); err != nil {
				swapped <- err
				return
			}
		}
	}()
	read := 0
	for range 3000 {
		text, err := r.ReadFile(filepath.Join(sub, "a"))
		if err == nil {
			read++
		}
		if strings.Contains(string(text), canary) {
			t.Fatal("the canary was read")
		}
	}
	close(stop)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if read == 0 {
		t.Error("nothing was ever read")
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	r := rules(t, allow.Config{Hosts: []string{"db.corp:5432", "*.example.com", "10.1.0.0/16", "192.0.2.7:80", "[2001:db8::1]:443", "fd00::/8"}})
	all := rules(t, allow.Config{Hosts: []string{"*", "0.0.0.0/0"}})
	link := rules(t, allow.Config{Hosts: []string{"169.254.169.254:80", "localhost:8123", "127.0.0.0/8:9000"}})
	for _, tt := range []struct {
		rules *allow.Rules
		host  string
		port  uint16
		ok    bool
	}{
		{nil, "anything", 1, true},
		{r, "10.1.2.3", 1, true}, {r, "192.0.2.7", 80, true}, {r, "2001:db8::1", 443, true}, {r, "[2001:db8::1]", 443, true}, {r, "::ffff:10.1.2.3", 5, true}, {r, "fd12::1", 5, true},
		{r, "10.2.0.1", 1, false}, {r, "192.0.2.7", 81, false}, {r, "127.0.0.1", 5432, false}, {r, "169.254.169.254", 80, false}, {r, "fd00:ec2::254", 80, false},
		{all, "8.8.8.8", 53, true}, {all, "10.0.0.1", 1, true}, {all, "some.name", 1, true},
		{all, "127.0.0.1", 1, false}, {all, "::1", 1, false}, {all, "169.254.169.254", 80, false}, {all, "::ffff:169.254.169.254", 80, false},
		{all, "64:ff9b::a9fe:a9fe", 80, false}, {all, "0.0.0.0", 80, false}, {all, "fe80::1%eth0", 80, false}, {all, "100.100.100.200", 80, false},
		{link, "169.254.169.254", 80, true}, {link, "169.254.169.254", 81, false}, {link, "169.254.170.2", 80, false}, {link, "127.0.0.1", 9000, true}, {link, "127.0.0.1", 8123, false},
	} {
		if err := tt.rules.Host(tt.host, tt.port); tt.ok != (err == nil) || !tt.ok && !isRefused(err) {
			t.Errorf("%s port %d: %v", tt.host, tt.port, err)
		}
	}
	named := rules(t, allow.Config{Hosts: []string{"db.corp:5432", "*.example.com"}})
	for host, ok := range map[string]bool{
		"db.corp": true, "DB.corp.": true, "a.example.com": true, "a.b.example.com": true,
		"example.com": false, "aexample.com": false, "db.corp.evil": false, "localhost": false,
	} {
		if err := named.Host(host, 5432); ok != (err == nil) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if ports, whichever := link.Ports(); whichever || len(ports) != 3 {
		t.Errorf("the ports are %v, %t", ports, whichever)
	}
	if _, whichever := r.Ports(); !whichever {
		t.Error("a rule without a port names some")
	}
	err := r.Host("127.0.0.1", 80)
	if err == nil || !strings.Contains(err.Error(), "DRAY_ALLOW_HOSTS") || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("the refusal is %v", err)
	}
}

// TestDial: the address that is connected to is judged, whatever leads there.
func TestDial(t *testing.T) {
	t.Parallel()
	var touched atomic.Int64
	forbidden := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	forbidden.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			touched.Add(1)
		}
	}
	forbidden.Start()
	t.Cleanup(forbidden.Close)
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/away" {
			http.Redirect(w, req, forbidden.URL, http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, "open")
	}))
	t.Cleanup(open.Close)
	port := func(u string) string {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.Port()
	}
	r := rules(t, allow.Config{Hosts: []string{"127.0.0.1:" + port(open.URL), "*"}})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	r.Guard(transport)
	client := &http.Client{Transport: transport}
	t.Cleanup(client.CloseIdleConnections)
	get := func(u string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	if err := get(open.URL); err != nil {
		t.Error(err)
	}
	for _, u := range []string{
		forbidden.URL, open.URL + "/away",
		"http://localhost:" + port(forbidden.URL), // * allows the name, and not what it means
		"http://0.0.0.0:" + port(forbidden.URL), "http://[::ffff:127.0.0.1]:" + port(forbidden.URL),
	} {
		if err := get(u); !isRefused(err) {
			t.Errorf("%s: %v", u, err)
		}
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if _, err := r.Dial(t.Context(), "unix", socket); !isRefused(err) {
		t.Errorf("a socket: %v", err)
	}
	if n := touched.Load(); n != 0 {
		t.Errorf("the forbidden server was reached %d times", n)
	}
	// What looks the name up again has to be named.
	if err := r.Lookup(context.Background(), "localhost", 80); !isRefused(err) {
		t.Errorf("a lookup of localhost: %v", err)
	}
}
