package natsauth_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/natsauth"
	"drayage/pkg/queue"
)

func writeCertificate(t *testing.T, path string, cert *x509.Certificate, ca tls.Certificate, public any) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, ca.Leaf, public, ca.PrivateKey)
	must(t, err)
	must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

// A role's secret is replaced while the others work on with theirs; who has the
// old one is let in no more, and is told why.
func TestRotate(t *testing.T) {
	t.Parallel()
	for _, login := range []natsauth.Login{natsauth.NKey, natsauth.JWT, natsauth.Password} {
		t.Run(string(login), func(t *testing.T) {
			t.Parallel()
			f := build(t, natsauth.Config{Login: login})
			dir := filepath.Dir(f.files.CA())
			c := f.connect(queue.RoleCoordinator)
			must(t, c.Ensure(ctx(t)))
			old := f.copied(queue.RoleWorker)
			w := get(queue.Connect(ctx(t), old))(t)
			defer w.Close()
			others := f.secrets()

			keep := login != natsauth.Password // a name has one password
			f.files = get(natsauth.Rotate(dir, queue.RoleWorker, keep))(t)
			f.reload()
			must(t, f.connect(queue.RoleWorker).Check(ctx(t)))
			if keep { // both are let in
				q := get(queue.Connect(ctx(t), old))(t)
				must(t, q.Check(ctx(t)))
				q.Close()
				f.files = get(natsauth.Retire(dir, queue.RoleWorker))(t)
				f.reload()
			}
			q := f.connect(queue.RoleWorker)
			must(t, q.Heartbeat(ctx(t), job.Worker{ID: "w"}))
			if _, err := queue.Connect(ctx(t), old); !errors.Is(err, queue.ErrDenied) {
				t.Errorf("the old secret: %v", err)
			}
			// A worker that was connected is put out, and its next call says so.
			deadline := time.Now().Add(30 * time.Second)
			for err := w.Heartbeat(ctx(t), job.Worker{ID: "v"}); !errors.Is(err, queue.ErrDenied); err = w.Heartbeat(ctx(t), job.Worker{ID: "v"}) {
				if time.Now().After(deadline) {
					t.Fatalf("a worker with the old secret: %v", err)
				}
			}
			must(t, c.Check(ctx(t)))
			for role, secret := range f.secrets() {
				if same := secret == others[role]; same == (role == queue.RoleWorker) {
					t.Errorf("the secret of the %s is the same: %t", role, same)
				}
			}
		})
	}
}

// copied is a role's configuration with a copy of its secret.
func (f *fort) copied(role queue.Role) queue.Config {
	f.t.Helper()
	cfg := f.config(role)
	path := filepath.Join(f.t.TempDir(), "secret")
	text, err := os.ReadFile(f.files.Secret(role))
	must(f.t, err)
	must(f.t, os.WriteFile(path, text, 0o600))
	for _, file := range []*string{&cfg.NKey, &cfg.Creds, &cfg.PasswordFile} {
		if *file != "" {
			*file = path
		}
	}
	return cfg
}

func (f *fort) secrets() map[queue.Role]string {
	f.t.Helper()
	all := map[queue.Role]string{}
	for _, role := range queue.Roles() {
		text, err := os.ReadFile(f.files.Secret(role))
		must(f.t, err)
		all[role] = string(text)
	}
	return all
}

// Secrets are for their owner only, and nothing is replaced unasked.
func TestCreate(t *testing.T) {
	t.Parallel()
	for _, login := range []natsauth.Login{natsauth.NKey, natsauth.JWT, natsauth.Password} {
		dir := filepath.Join(t.TempDir(), "a")
		files := get(natsauth.Create(natsauth.Config{Dir: dir, Login: login}))(t)
		must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			must(t, err)
			info, err := d.Info()
			must(t, err)
			public := strings.HasSuffix(path, ".pem")
			if open := info.Mode().Perm()&0o077 != 0; open != public {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return nil
		}))
		conf, err := os.ReadFile(files.Conf())
		must(t, err)
		for _, role := range queue.Roles() {
			secret, err := os.ReadFile(files.Secret(role))
			must(t, err)
			if strings.Contains(string(conf), strings.TrimSpace(string(secret))) {
				t.Errorf("the server's configuration has the secret of the %s", role)
			}
		}
		if _, err := natsauth.Create(natsauth.Config{Dir: dir, Login: login}); !errors.Is(err, natsauth.ErrExists) {
			t.Errorf("made again: %v", err)
		}
		after, err := os.ReadFile(files.Conf())
		must(t, err)
		if string(after) != string(conf) {
			t.Error("a refusal changed the configuration")
		}
	}
	for name, cfg := range map[string]natsauth.Config{
		"no folder":    {},
		"login":        {Dir: t.TempDir(), Login: "magic"},
		"a URL":        {Dir: t.TempDir(), Hosts: []string{"nats://nats"}},
		"for too long": {Dir: t.TempDir(), Valid: 100 * 365 * 24 * time.Hour},
	} {
		if _, err := natsauth.Create(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := natsauth.Rotate(t.TempDir(), queue.RoleWorker, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rotated in an empty folder: %v", err)
	}
}
