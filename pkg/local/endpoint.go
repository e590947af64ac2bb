package local

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// The files of a dray up in the data folder, for its user alone.
const (
	endpointFile = "up.json"    // where it is now
	tokenFile    = "nats.token" // what its NATS wants to hear, the same at every start
)

// Endpoint is where a dray up is reached. It holds secrets: it is never printed.
type Endpoint struct {
	PID  int    `json:"pid"`
	NATS string `json:"nats"` // URL with the token
	// ClickHouse is the URL of the embedded one, with user and password; empty
	// when the dray up loads elsewhere.
	ClickHouse string `json:"clickhouse,omitempty"`
	HTTP       string `json:"http,omitempty"` // URL of the page; empty: there is none
}

// Announce tells other processes of this user where the stack is, until Close.
// Only a stack of StartShared can be announced.
func (s *Stack) Announce(http string) error {
	e := Endpoint{PID: os.Getpid(), NATS: s.embedded.URL(), HTTP: http}
	if s.destination != nil {
		e.ClickHouse = s.destination.URL()
	}
	text, err := json.Marshal(e)
	if err == nil {
		err = writePrivate(filepath.Join(s.cfg.DataDir, endpointFile), text)
	}
	if err != nil {
		return fmt.Errorf("telling where dray up is: %w", err)
	}
	s.announced = true
	return nil
}

// NATSAddress is where its NATS listens, without the token; "" when it does not.
func (s *Stack) NATSAddress() string { return s.embedded.Address() }

// Embedded reports whether its ClickHouse is the one of the data folder.
func (s *Stack) Embedded() bool { return s.destination != nil }

// findEndpoint finds the dray up that works in the folder; nil: none does. A file
// that a killed one has left counts for nothing.
func findEndpoint(dir string) (*Endpoint, error) {
	text, err := os.ReadFile(filepath.Join(dir, endpointFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading where dray up is: %w", err)
	}
	// Whoever works in the folder has it locked.
	lock := flock.New(filepath.Join(dir, "lock"))
	free, err := lock.TryRLock()
	if err != nil {
		return nil, fmt.Errorf("looking whether dray up works in %s: %w", dir, err)
	}
	if free {
		return nil, lock.Unlock()
	}
	var e Endpoint
	if err := json.Unmarshal(text, &e); err != nil || e.NATS == "" {
		return nil, fmt.Errorf("%s says in no readable way where dray up is; stop dray up and start it again", filepath.Join(dir, endpointFile))
	}
	return &e, nil
}

// keepToken returns the token of the folder's NATS, made when there is none.
func keepToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	text, err := os.ReadFile(path)
	switch {
	case err == nil && len(text) > 0:
		return string(text), nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("reading the token of NATS: %w", err)
	}
	token := rand.Text()
	if err := writePrivate(path, []byte(token)); err != nil {
		return "", fmt.Errorf("keeping the token of NATS: %w", err)
	}
	return token, nil
}

// writePrivate puts a file that only its owner can read in its place, whole.
func writePrivate(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".") // which is 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
