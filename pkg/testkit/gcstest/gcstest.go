// Package gcstest starts a Google Cloud Storage for tests: fake-gcs-server, in a
// process of its own. What it keeps is in memory.
package gcstest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Bucket is there from the start.
const Bucket = "drayage-tests"

// Server is a storage with one bucket. It asks for no credentials.
type Server struct {
	// URL is the address of the JSON API, without a slash at its end; what
	// STORAGE_EMULATOR_HOST takes.
	URL string

	process *exec.Cmd
	input   io.Closer // closed: the process ends
	client  *http.Client
}

// Start starts a server, which scripts/emulators.sh has installed. Close ends it.
func Start() (*Server, error) {
	path, err := installed()
	if err != nil {
		return nil, err
	}
	s := &Server{process: exec.Command(path, Bucket), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}} //nolint:gosec,noctx // of the tests; Close ends it
	s.process.Stderr = os.Stderr
	input, err1 := s.process.StdinPipe()
	output, err2 := s.process.StdoutPipe()
	if err := errors.Join(err1, err2, s.process.Start()); err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	s.input = input
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s does not say its address: %w", path, err), s.Close())
	}
	s.URL = strings.TrimSpace(line)
	return s, nil
}

// installed is where install.sh put the server.
func installed() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	sum := sha256.New()
	for _, name := range []string{"go.mod", "main.go"} {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(file), "server", name))
		if err != nil {
			return "", err
		}
		sum.Write(data)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "drayage", "gcstest", hex.EncodeToString(sum.Sum(nil))[:16])
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("there is no Google Cloud Storage for the tests: run make emulators: %w", err)
	}
	return path, nil
}

// Put stores an object, with a Content-Encoding where encoding is not empty.
func (s *Server) Put(ctx context.Context, key string, data []byte, encoding string) error {
	query := url.Values{"uploadType": {"media"}, "name": {key}}
	if encoding != "" {
		query.Set("contentEncoding", encoding)
	}
	return s.do(ctx, http.MethodPost, "/upload/storage/v1/b/"+Bucket+"/o?"+query.Encode(), data)
}

// Delete removes an object.
func (s *Server) Delete(ctx context.Context, key string) error {
	return s.do(ctx, http.MethodDelete, "/storage/v1/b/"+Bucket+"/o/"+url.PathEscape(key), nil)
}

func (s *Server) do(ctx context.Context, method, path string, data []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, answer)
	}
	return err
}

// Close ends the server.
func (s *Server) Close() error {
	return errors.Join(s.input.Close(), s.process.Wait())
}
