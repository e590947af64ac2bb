package mysql

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/testkit/mysqltest"
	"drayage/pkg/testkit/server"
)

// certificate writes a certificate for a host and its key as PEM.
func certificate(t *testing.T, ip string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	// The server is another user, for whom a folder of t.TempDir is closed.
	dir, err := os.MkdirTemp("", "mysql-tls")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // of a test
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o644); err != nil { //nolint:gosec // of a test
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

// Whom tls=true does not trust is not read from; the password does not get there.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, "127.0.0.1")
	other, _ := certificate(t, "127.0.0.1")
	own := server.Run(t, mysqltest.Start,
		"CREATE USER guarded IDENTIFIED BY '"+password+"' REQUIRE SSL; GRANT SELECT ON test.* TO guarded", "ssl-cert="+cert, "ssl-key="+key)
	at := relay(t, own.URL("guarded", password), "")
	for query, tt := range map[string]struct {
		class job.Class
		text  string
	}{
		"tls=true&ca=" + cert: {0, ""},
		"ca=" + cert:          {0, ""},
		"tls=skip-verify":     {0, ""},
		"":                    {0, ""},
		"tls=true":            {job.Permanent, "certificate"},
		"ca=" + other:         {job.Permanent, "certificate"},
		"tls=false":           {job.Permanent, "look at the user and password"},
	} {
		at.RawQuery = query
		_, err := mustNew(t, Config{URL: at.String(), Query: "SELECT 1 AS n"}).Columns(t.Context(), nil)
		if (err == nil) != (tt.text == "") || err != nil && (job.ClassOf(err) != tt.class || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%s: it is %s: %v", query, job.ClassOf(err), err)
		}
	}
}
