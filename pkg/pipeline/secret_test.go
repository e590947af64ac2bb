package pipeline

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
)

func TestRedact(t *testing.T) {
	p := &Pipeline{Transform: "${env:URL} ${env:TOKEN} ${file:/k} ${env:SHORT}"}
	env := map[string]string{"URL": "postgres://u:p%40ss+word@h/db", "TOKEN": "abc/def", "SHORT": "a"}
	err := p.Resolve(Resolver{
		JobTime: time.Now(),
		From: access{
			env:  func(name string) (string, bool) { v, ok := env[name]; return v, ok },
			file: func(string) ([]byte, error) { return []byte("key of a file\n"), nil },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cause := job.WithClass(fmt.Errorf("at postgres://u:p%%40ss+word@h/db, p@ss+word, p%%40ss%%2Bword, abc/def, abc%%2Fdef, key of a file, a table: %w", io.ErrUnexpectedEOF), job.Permanent)
	got := p.Redact(fmt.Errorf("reading: %w", cause))
	if want := "reading: at [hidden], [hidden], [hidden], [hidden], [hidden], [hidden], a table: unexpected EOF"; got.Error() != want {
		t.Errorf("the error is %q", got)
	}
	if !errors.Is(got, io.ErrUnexpectedEOF) || job.ClassOf(got) != job.Permanent {
		t.Errorf("the error lost what it wraps: %v", job.ClassOf(got))
	}
	got = p.Redact(job.WithClass(Errors{{File: "f", Key: "source", Problem: "no abc/def"}}, job.Permanent))
	var mistakes Errors
	if !errors.As(got, &mistakes) || strings.Contains(mistakes[0].Problem, "abc") || job.ClassOf(got) != job.Permanent {
		t.Errorf("the mistakes are %v", got)
	}
	if same := errors.New("nothing secret"); p.Redact(same) != same || p.Redact(nil) != nil { //nolint:errorlint // the very same
		t.Error("an error without secrets was changed")
	}
}

// access reads by functions.
type access struct {
	env  func(string) (string, bool)
	file func(string) ([]byte, error)
}

func (a access) LookupEnv(name string) (string, bool, error) {
	v, set := a.env(name)
	return v, set, nil
}

func (a access) ReadFile(path string) ([]byte, error) { return a.file(path) }
