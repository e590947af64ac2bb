package files

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/store"
)

// remote is the tree of the objects of a store. Its paths are addresses.
type remote struct {
	place
	store store.Store
	keys  map[string]webKey // of https
}

func (r *remote) key(path string) string {
	if k, there := r.keys[path]; there {
		return k.key
	}
	return strings.TrimPrefix(path, r.String())
}

func objectVersion(o store.Object) version {
	return version{Size: o.Size, Tag: o.Version, Whole: o.Whole}
}

// walk implements tree. It reads the listing page by page, and of a pattern
// without meta characters asks for that object alone.
func (r *remote) walk(ctx context.Context, g glob, from string, yield func(string, version) error) error {
	if g.rest == "" {
		v, err := r.version(ctx, g.name)
		if err != nil {
			return err
		}
		return yield(g.name, v)
	}
	after := ""
	if from != "" {
		// A listing begins after a key, and this one is wanted too.
		after = r.key(from)
		o, err := r.store.Stat(ctx, after)
		switch {
		case err == nil:
			if err := yield(from, objectVersion(o)); err != nil {
				return err
			}
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	return r.store.List(ctx, g.base, after, func(o store.Object) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasSuffix(o.Key, "/") || !g.matches(o.Key) {
			return nil // a folder, or not asked for
		}
		return yield(r.String()+o.Key, objectVersion(o))
	})
}

// matches reports whether a glob of objects names the key.
func (g glob) matches(key string) bool {
	ok, _ := doublestar.Match(g.rest, key)
	return ok
}

// reaches implements tree.
func (r *remote) reaches(g glob, path string) bool {
	if g.rest == "" {
		return g.name == path
	}
	return g.matches(r.key(path))
}

// version implements tree.
func (r *remote) version(ctx context.Context, path string) (version, error) {
	o, err := r.store.Stat(ctx, r.key(path))
	if errors.Is(err, store.ErrNotFound) {
		return version{}, job.Permanentf("%s does not exist: check the address; for many objects write a glob such as *.csv: %w", path, err)
	}
	return objectVersion(o), err
}

// open implements tree.
func (r *remote) open(ctx context.Context, path string, v version) (blob, version, error) {
	o := store.Object{Key: r.key(path), Size: v.Size, Version: v.Tag, Whole: v.Whole}
	ctx, cancel := context.WithCancelCause(ctx)
	return &object{ctx: ctx, cancel: cancel, store: r.store, o: o, path: path}, v, nil
}

// objectError says what an error of a store means for an object whose version
// is known.
func objectError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrChanged):
		return job.Permanentf("%s: %w: the store has another version of it now; start a new job for that", path, source.ErrChanged)
	case errors.Is(err, store.ErrNotFound):
		return job.Permanentf("%s: %w: it was deleted, or renamed", path, source.ErrGone)
	}
	return job.WithClass(fmt.Errorf("reading %s: %w", path, err), job.ClassOf(err))
}
