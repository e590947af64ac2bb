// Package testkit holds what the tests of several packages share.
package testkit

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"go.uber.org/goleak"

	"drayage/pkg/engine"
)

// Engine makes a test binary serve as the engine that its tests start:
// engine.Start runs this executable with "engine", and so called it serves
// and ends. Otherwise Engine returns at once. It is the first line of TestMain.
func Engine() {
	if len(os.Args) < 2 || os.Args[1] != "engine" {
		return
	}
	if err := engine.ServeFromEnv(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// WithEngine is the TestMain of a package whose tests share an engine, which use
// is given before they begin. It is WithServer otherwise.
func WithEngine(m *testing.M, use func(*engine.Client)) {
	Engine()
	var p process
	WithServer(m, &p, func() (process, error) {
		p, err := engine.Start(context.Background(), engine.Config{Name: "test"})
		if err == nil {
			use(p.Client())
		}
		return process{p}, err
	})
}

// process is an engine that ends as other servers do.
type process struct{ *engine.Process }

// Close ends the engine.
func (p process) Close() error {
	_, err := p.Process.Close()
	return err
}

// WithServer is the TestMain of a package whose tests share a server, which is in
// server before they begin. It checks that no goroutine is left behind, and ends
// the process.
func WithServer[S io.Closer](m *testing.M, server *S, start func() (S, error)) {
	var err error
	if *server, err = start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := (*server).Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}),
		// Those of the server, which is closed after the check, and idle connections.
		goleak.IgnoreCurrent(),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// FileSettings are engine settings that the files source sends for text, for
// tests below it. The map is the caller's.
func FileSettings() map[string]string {
	return map[string]string{
		"input_format_null_as_default":                                   "0",
		"input_format_csv_detect_header":                                 "0",
		"input_format_tsv_detect_header":                                 "0",
		"input_format_tsv_crlf_end_of_line":                              "1",
		"input_format_tsv_empty_as_default":                              "1",
		"input_format_skip_unknown_fields":                               "0",
		"input_format_force_null_for_omitted_fields":                     "1",
		"input_format_json_ignore_unnecessary_fields":                    "0",
		"input_format_json_ignore_unknown_keys_in_named_tuple":           "0",
		"input_format_json_defaults_for_missing_elements_in_named_tuple": "0",
	}
}
