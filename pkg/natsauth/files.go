package natsauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"drayage/pkg/queue"
)

// Files are those of one folder.
type Files struct {
	dir   string
	state state
}

// state is what must be known to write the configuration again. No secret is in
// it: the seeds and passwords are in files of their own, which may be elsewhere
// by then.
type state struct {
	Login     Login                 `json:"login"`
	Hosts     []string              `json:"hosts"`
	ServerDir string                `json:"server_dir"`
	Users     map[queue.Role][]user `json:"users"`
	// Trusted is the operator's token, with JWT. It stays the same: a server that
	// runs takes no other.
	Trusted string `json:"trusted,omitempty"`
	// Revoked are the public keys of users that were let in once, by role, with
	// JWT.
	Revoked map[queue.Role][]string `json:"revoked,omitempty"`
}

// user is one whom the server lets in.
type user struct {
	ID   string `json:"id"`             // the public key, or the name
	Hash string `json:"hash,omitempty"` // of the password, by bcrypt
}

// Conf is the path of the server's configuration.
func (f *Files) Conf() string { return filepath.Join(f.dir, fileConf) }

// CA is the path of the authority's certificate, which clients need.
func (f *Files) CA() string { return filepath.Join(f.dir, fileCA) }

// Secret is the path of what a role logs in with.
func (f *Files) Secret(role queue.Role) string { return filepath.Join(f.dir, f.secretName(role)) }

// Environment is what a role needs in its environment, as NAME=value.
func (f *Files) Environment(role queue.Role) []string {
	env := []string{"DRAY_NATS_CA=" + f.CA()}
	switch f.state.Login {
	case NKey:
		return append(env, "DRAY_NATS_NKEY="+f.Secret(role))
	case JWT:
		return append(env, "DRAY_NATS_CREDS="+f.Secret(role))
	default:
		return append(env, "DRAY_NATS_USER="+string(role), "DRAY_NATS_PASSWORD_FILE="+f.Secret(role))
	}
}

func (f *Files) secretName(role queue.Role) string {
	switch f.state.Login {
	case NKey:
		return string(role) + ".nk"
	case JWT:
		return string(role) + ".creds"
	default:
		return string(role) + ".password"
	}
}

func (f *Files) secretNames() []string {
	var names []string
	for _, role := range queue.Roles() {
		names = append(names, f.secretName(role))
	}
	return names
}

// enrol makes a user of the role, beside those it has, and its secret.
func (f *Files) enrol(role queue.Role) error {
	var (
		u      user
		secret []byte
		err    error
	)
	switch f.state.Login {
	case NKey:
		u, secret, err = newKey()
	case JWT:
		u, secret, err = f.newCredentials(role)
	default:
		u, secret, err = newPassword(role)
		delete(f.state.Users, role)
	}
	if err != nil {
		return fmt.Errorf("making the secret of the %s: %w", role, err)
	}
	defer clear(secret)
	if f.state.Users == nil {
		f.state.Users = map[queue.Role][]user{}
	}
	f.state.Users[role] = append(f.state.Users[role], u)
	return f.put(f.secretName(role), secret, 0o600)
}

func (f *Files) retire(role queue.Role, old []user) {
	if f.state.Login == Password {
		return // the new one took its place
	}
	f.state.Users[role] = slices.DeleteFunc(f.state.Users[role], func(u user) bool { return slices.Contains(old, u) })
	if f.state.Login != JWT {
		return
	}
	if f.state.Revoked == nil {
		f.state.Revoked = map[queue.Role][]string{}
	}
	for _, u := range old {
		f.state.Revoked[role] = append(f.state.Revoked[role], u.ID)
	}
}

// save writes the configuration and what it was made of.
func (f *Files) save() error {
	conf, err := f.configuration()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(f.state, "", "  ")
	if err != nil {
		return err
	}
	if err := f.put(fileState, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return f.put(fileConf, conf, 0o600)
}

func open(dir string) (*Files, error) {
	f := &Files{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, fileState))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no file %s: nothing was made there, or its authority is kept elsewhere: %w", dir, fileState, err)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &f.state); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, fileState), err)
	}
	return f, nil
}

func (f *Files) makeFolders() error {
	for _, dir := range []string{f.dir, filepath.Join(f.dir, "authority")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// put writes a file in one step, so that a server that reads it meanwhile finds
// the old one or the new one.
func (f *Files) put(name string, text []byte, mode fs.FileMode) error {
	path := filepath.Join(f.dir, name)
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

func (f *Files) read(name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		return nil, fmt.Errorf("the authority's files are needed: %w", err)
	}
	return text, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
