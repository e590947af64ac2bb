// Package azuretest starts an Azure Blob Storage for tests: Azurite, Microsoft's
// own emulator, in a process of its own. What it keeps is in memory.
package azuretest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// Container is there from the start; only credentials may read it. Public is
// there as well, for everybody.
const (
	Container = "drayage-tests"
	Public    = "drayage-public"
)

// Account and its Key are those of the emulators, which the world knows.
const (
	Account = "devstoreaccount1"
	Key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Server is a storage with one account.
type Server struct {
	// URL is the address of the server, without a slash at its end; that of the
	// account is one part longer.
	URL string

	process *exec.Cmd
	input   io.Closer // closed: the process ends
	output  chan struct{}
	dir     string
	http    *http.Client
}

// Start starts a server, which scripts/emulators.sh has installed. Close ends it.
func Start(ctx context.Context) (*Server, error) {
	_, file, _, _ := runtime.Caller(0)
	here := filepath.Dir(file)
	program, err := installed(here)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "azuretest")
	if err != nil {
		return nil, err
	}
	s := &Server{
		process: exec.Command("node", "-r", filepath.Join(here, "until.js"), program, //nolint:gosec,noctx // of the tests; Close ends it
			"--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent", "--blobHost", "127.0.0.1", "--blobPort", "0"),
		output: make(chan struct{}),
		dir:    dir,
		http:   &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	s.process.Dir = dir
	s.process.Stderr = os.Stderr
	input, err1 := s.process.StdinPipe()
	output, err2 := s.process.StdoutPipe()
	if err := errors.Join(err1, err2, s.process.Start()); err != nil {
		return nil, errors.Join(fmt.Errorf("starting azurite: %w", err), os.RemoveAll(dir))
	}
	s.input = input
	address := make(chan string, 1)
	go func() {
		defer close(s.output)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if _, at, ok := strings.Cut(lines.Text(), "successfully listens on "); ok {
				address <- strings.TrimSpace(at)
			}
		}
	}()
	select {
	case s.URL = <-address:
	case <-s.output:
		return nil, errors.Join(errors.New("azurite ended before it listened"), s.Close())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), s.Close())
	}
	if err := s.containers(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// installed is the program that make emulators has installed.
func installed(here string) (string, error) {
	data, err := os.ReadFile(filepath.Join(here, "package.json"))
	if err != nil {
		return "", err
	}
	var pinned struct{ Dependencies struct{ Azurite string } }
	if err := json.Unmarshal(data, &pinned); err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	program := filepath.Join(cache, "drayage", "azuretest", pinned.Dependencies.Azurite, "node_modules", "azurite", "dist", "src", "blob", "main.js")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("there is no Azure Storage for the tests: run make emulators: %w", err)
	}
	return program, nil
}

// Endpoint is the address of the blob service of the account.
func (s *Server) Endpoint() string { return s.URL + "/" + Account }

// Client is a client of a container, with every right.
func (s *Server) Client(name string) (*container.Client, error) {
	key, err := container.NewSharedKeyCredential(Account, Key)
	if err != nil {
		return nil, err
	}
	o := &container.ClientOptions{}
	o.Transport = s.http
	return container.NewClientWithSharedKeyCredential(s.Endpoint()+"/"+name, key, o)
}

func (s *Server) containers(ctx context.Context) error {
	everybody := container.PublicAccessTypeContainer
	for name, options := range map[string]*container.CreateOptions{Container: nil, Public: {Access: &everybody}} {
		c, err := s.Client(name)
		if err != nil {
			return err
		}
		if _, err := c.Create(ctx, options); err != nil {
			return err
		}
	}
	return nil
}

// Put stores an object in a container, with a Content-Encoding where encoding is
// not empty.
func (s *Server) Put(ctx context.Context, in, key string, data []byte, encoding string) error {
	c, err := s.Client(in)
	if err != nil {
		return err
	}
	options := &blockblob.UploadBufferOptions{}
	if encoding != "" {
		options.HTTPHeaders = &blob.HTTPHeaders{BlobContentEncoding: &encoding}
	}
	_, err = c.NewBlockBlobClient(key).UploadBuffer(ctx, data, options)
	return err
}

// Delete removes an object from a container.
func (s *Server) Delete(ctx context.Context, in, key string) error {
	c, err := s.Client(in)
	if err != nil {
		return err
	}
	_, err = c.NewBlobClient(key).Delete(ctx, nil)
	return err
}

// Close ends the server.
func (s *Server) Close() error {
	err := s.input.Close()
	<-s.output
	return errors.Join(err, s.process.Wait(), os.RemoveAll(s.dir))
}
