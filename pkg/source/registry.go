package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"drayage/pkg/allow"
	"drayage/pkg/job"
)

// Config is what a kind of source that is built into one's own dray finds in the
// pipeline and around it.
type Config struct {
	// Settings are what the pipeline has under source.custom.settings, as JSON,
	// with its references resolved; empty when it has nothing. They may be secret:
	// they must not be in errors, descriptions of chunks or cursors.
	Settings json.RawMessage
	Dir      string // where relative paths start
	// Allow says what of the machine and of the network may be read: a source
	// opens files and connections through it. nil: everything.
	Allow      *allow.Rules
	Columns    []job.Column // declared with source.columns; none: the source finds them out
	ChunkBytes int64        // target size of a chunk, above 0
	Rows       uint64       // target size of a chunk in rows; 0: by ChunkBytes
	Seats      Seats        // for connections to a server; nil: unbounded
	// Watermark, Bounds and Seen are those of an incremental pipeline, for a
	// source that is Incremental or Versioned.
	Watermark job.Watermark
	Bounds    json.RawMessage
	Seen      func(version string) bool
}

// Factory makes a source. It opens nothing. What is wrong with the settings is a
// *FieldError or FieldErrors, with Field below settings.
type Factory func(Config) (Source, error)

// Registry are the kinds of source that are built into one's own dray, by the
// names that pipelines have under source.custom.kind.
type Registry map[string]Factory

// New is the Factory of a kind whose settings are a struct C. Settings that it has
// no field for are refused.
func New[C any](build func(settings C, cfg Config) (Source, error)) Factory {
	return func(cfg Config) (Source, error) {
		var c C
		if len(cfg.Settings) > 0 {
			dec := json.NewDecoder(bytes.NewReader(cfg.Settings))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&c); err != nil {
				return nil, &FieldError{Problem: strings.TrimPrefix(err.Error(), "json: ")}
			}
		}
		return build(c, cfg)
	}
}

// Names are the names of the kinds, in order.
func (g Registry) Names() []string { return slices.Sorted(maps.Keys(g)) }

// Make makes the source of a kind. An *UnknownKindError when there is none of the
// name. A FieldError of the factory has its Field below settings then.
func (g Registry) Make(kind string, cfg Config) (_ Source, err error) {
	factory, ok := g[kind]
	if !ok {
		return nil, &UnknownKindError{Kind: kind, Known: g.Names()}
	}
	defer func() {
		if v := recover(); v != nil { // it fails the job, not the coordinator
			err = job.Permanentf("the source %s panicked: %v", kind, v)
		}
	}()
	s, err := factory(cfg)
	return s, below("settings", err)
}

// below puts the fields of an error below a key, but for those that are keys of
// every source.
func below(key string, err error) error {
	place := func(e *FieldError) *FieldError {
		moved := *e
		if e.Field != "columns" && e.Field != "chunk" && e.Field != "rows" {
			moved.Field = strings.TrimSuffix(key+"."+e.Field, ".")
		}
		return &moved
	}
	switch e := err.(type) { //nolint:errorlint // what is wrapped has a text of its own
	case *FieldError:
		return place(e)
	case FieldErrors:
		all := make(FieldErrors, len(e))
		for i, one := range e {
			all[i] = place(one)
		}
		return all
	}
	return err
}

// UnknownKindError says that this dray was built without a kind of source.
type UnknownKindError struct {
	Kind  string
	Known []string
}

func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("this dray has no source of the kind %s (%s)", e.Kind, e.Hint())
}

// Hint says what to do.
func (e *UnknownKindError) Hint() string {
	const build = "kinds are compiled in: build a dray with them, as docs/source-custom.md shows, and run the coordinator and every worker from it"
	if len(e.Known) == 0 {
		return "it has none; " + build
	}
	return "it has " + strings.Join(e.Known, ", ") + "; " + build
}
