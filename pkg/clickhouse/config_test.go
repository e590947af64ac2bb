package clickhouse_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/clickhouse"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	const pw = "s3cr3t-pw"
	for _, tc := range []struct {
		name string
		cfg  clickhouse.Config
		err  string // part of the error; "": none
	}{
		{"http", clickhouse.Config{URL: "http://u:" + pw + "@h:8123/db"}, ""},
		{"https", clickhouse.Config{URL: "https://h", CAFile: "x"}, ""},
		{"zero values are defaults", clickhouse.Config{URL: "http://h"}, ""},
		{"not set", clickhouse.Config{}, "DRAY_CLICKHOUSE_URL is not set"},
		{"no host", clickhouse.Config{URL: "http://"}, "not a URL"},
		{"bare host", clickhouse.Config{URL: "localhost:8123"}, "must"},
		{"native", clickhouse.Config{URL: "clickhouse://u:" + pw + "@h:9000"}, ""},
		{"native with TLS", clickhouse.Config{URL: "clickhouse://h?secure=true", CAFile: "x"}, ""},
		{"native without TLS", clickhouse.Config{URL: "clickhouse://h?secure=false", CAFile: "x"}, "clickhouses://"},
		{"secure maybe", clickhouse.Config{URL: "clickhouse://h?secure=maybe"}, "neither true nor false"},
		{"secure http", clickhouse.Config{URL: "http://h?secure=true"}, "write https://"},
		{"several hosts", clickhouse.Config{URL: "clickhouse://a:9000,b:9000"}, "several hosts"},
		{"native shards", clickhouse.Config{URL: "clickhouse://h", Shards: []string{"clickhouse://s1", "http://s1"}}, ""},
		{"a native shard twice", clickhouse.Config{URL: "clickhouse://h", Shards: []string{"tcp://s1", "native://u:" + pw + "@s1:9000"}}, "s1:9000, which is there twice"},
		{"other scheme", clickhouse.Config{URL: "ftp://u:" + pw + "@h"}, "http://, https://, clickhouse:// or clickhouses://"},
		{"broken, with a password", clickhouse.Config{URL: "http://u:" + pw + "@h:port/%zz"}, "not a URL"},
		{"hash in a password", clickhouse.Config{URL: "http://u:" + pw + "#@h"}, "DRAY_CLICKHOUSE_URL"},
		{"parameter", clickhouse.Config{URL: "http://h?compress=1"}, `"compress"`},
		{"path", clickhouse.Config{URL: "http://h/a/b"}, "after the host"},
		{"two passwords", clickhouse.Config{URL: "http://h", Password: pw, PasswordFile: "f"}, "exclude"},
		{"CA without TLS", clickhouse.Config{URL: "http://h", CAFile: "f"}, "https://"},
		{"compression", clickhouse.Config{URL: "http://h", Compression: "lzma"}, "auto, none, lz4 or zstd"},
		{"shards", clickhouse.Config{URL: "http://h", Shards: []string{"http://u:" + pw + "@s1", "https://s2:1"}}, ""},
		{"a shard twice", clickhouse.Config{URL: "http://h", Shards: []string{"http://s1", "http://u:" + pw + "@s1:8123"}}, "s1:8123, which is there twice"},
		{"no shard", clickhouse.Config{URL: "http://h", Shards: []string{"http://s1", "s2:8123#" + pw}}, "number 2 of DRAY_CLICKHOUSE_SHARDS"},
		{"negative", clickhouse.Config{URL: "http://h", MaxConns: -1}, "negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := tc.cfg.Validate()
			switch {
			case tc.err == "" && err != nil:
				t.Fatal(err)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Fatalf("got %v, want %q", err, tc.err)
			case err != nil && strings.Contains(err.Error(), pw):
				t.Fatalf("the password is in %v", err)
			}
		})
	}
}

func TestConfigNeverShowsThePassword(t *testing.T) {
	t.Parallel()
	const pw = "s3cr3t-pw"
	for _, cfg := range []clickhouse.Config{
		{URL: "http://u:" + pw + "@h:8123/db"},
		{URL: "http://h", Shards: []string{"http://u:" + pw + "@s"}},
		{URL: "http://h", User: "u", Password: pw},
		{URL: "http://h?password=" + pw},
		{URL: "clickhouse://u:" + pw + "@h"},
		{URL: "ftp://u:" + pw + "@h"}, // invalid
	} {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "cfg", cfg)
		text, err := json.Marshal(struct{ C clickhouse.Config }{cfg})
		if err != nil {
			t.Fatal(err)
		}
		all := fmt.Sprintf("%v %+v %#v %s %q", cfg, cfg, cfg, cfg, cfg) + log.String() + string(text)
		if strings.Contains(all, pw) {
			t.Errorf("the password is in %s", all)
		}
	}
}

func TestConfigFromEnv(t *testing.T) { //nolint:paralleltest // the environment
	for _, tc := range []struct {
		name string
		env  map[string]string
		want string // String
	}{
		{"ours", map[string]string{"DRAY_CLICKHOUSE_URL": "http://a:b@h:1/d", "CLICKHOUSE_URL": "http://x"}, "http://h:1 user=a database=d max_conns=16 compression=lz4"},
		{"ours win part by part", map[string]string{"DRAY_CLICKHOUSE_URL": "http://a:b@h:1/d", "DRAY_CLICKHOUSE_USER": "c", "DRAY_CLICKHOUSE_DATABASE": "e"}, "http://h:1 user=c database=e max_conns=16 compression=lz4"},
		{"theirs", map[string]string{"CLICKHOUSE_URL": "http://localhost/d", "CLICKHOUSE_USER": "u"}, "http://localhost:8123 user=u database=d max_conns=16 compression=none"},
		{"host, and the native port", map[string]string{"CLICKHOUSE_HOST": "::1", "CLICKHOUSE_PORT": "9000", "CLICKHOUSE_DATABASE": "d"}, "http://[::1]:8123 user=default database=d max_conns=16 compression=none"},
		{"native", map[string]string{"DRAY_CLICKHOUSE_URL": "tcp://a:b@h/d?secure=1"}, "clickhouses://h:9440 user=a database=d max_conns=16 compression=lz4"},
		{"native on this machine", map[string]string{"CLICKHOUSE_URL": "clickhouse://localhost"}, "clickhouse://localhost:9000 user=default database=default max_conns=16 compression=none"},
		{"no URL: nothing is filled in", map[string]string{"CLICKHOUSE_USER": "u", "CLICKHOUSE_PASSWORD": "p"}, "clickhouse (invalid configuration)"},
		{"credentials are not mixed", map[string]string{"DRAY_CLICKHOUSE_URL": "https://a@h", "CLICKHOUSE_USER": "u", "CLICKHOUSE_PASSWORD": "p"}, "https://h:8443 user=a database=default max_conns=16 compression=lz4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, name := range []string{"DRAY_CLICKHOUSE_URL", "DRAY_CLICKHOUSE_USER", "DRAY_CLICKHOUSE_PASSWORD", "DRAY_CLICKHOUSE_DATABASE",
				"CLICKHOUSE_URL", "CLICKHOUSE_HOST", "CLICKHOUSE_PORT", "CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_DATABASE"} {
				t.Setenv(name, tc.env[name])
			}
			cfg, err := clickhouse.FromEnv()
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.String(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
	t.Setenv("DRAY_CLICKHOUSE_MAX_CONNS", "s3cr3t")
	if _, err := clickhouse.FromEnv(); err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "DRAY_CLICKHOUSE_MAX_CONNS") {
		t.Errorf("got %v", err)
	}
}

func TestSecretFilesThatAreNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]clickhouse.Config{
		"DRAY_CLICKHOUSE_PASSWORD_FILE": {URL: "http://h", PasswordFile: filepath.Join(dir, "none")},
		"DRAY_CLICKHOUSE_CA_FILE":       {URL: "https://h", CAFile: filepath.Join(dir, "none")},
		"no PEM certificate":            {URL: "https://h", CAFile: junk},
	} {
		if _, err := clickhouse.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
