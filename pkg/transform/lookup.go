package transform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"drayage/pkg/allow"
	"drayage/pkg/engine"
	"drayage/pkg/job"
)

// ErrChanged: a lookup is not the one that the job was planned with. Its class
// is job.Permanent.
var ErrChanged = errors.New("the lookup changed since the job was planned")

// LookupFile is a file with the rows of a lookup.
type LookupFile struct {
	Path    string
	Allow   *allow.Rules // whether it may be read; nil: it may
	Format  string       // "": by the extension
	Columns []job.Column // none: as the engine infers them
}

// LookupPath is the path of a lookup's file: a relative one starts at dir.
func LookupPath(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// LoadFile makes a lookup of a file, in one block and in the order of the file,
// and says what it has read. A file that changes meanwhile, or can not be read,
// is an error; one that is not there is of class job.Permanent.
func (w Workspace) LoadFile(ctx context.Context, name string, f LookupFile) (job.Lookup, error) {
	hash, size, err := fingerprint(f)
	if err != nil {
		return job.Lookup{}, err
	}
	// Its name may not lead elsewhere by now; and a confined engine can not follow.
	if f.Path, err = f.Allow.Path(f.Path); err != nil {
		return job.Lookup{}, err
	}
	args := Literal(f.Path)
	if f.Format != "" || len(f.Columns) > 0 {
		format := f.Format
		if format == "" {
			format = "auto"
		}
		args += ", " + Literal(format)
	}
	if len(f.Columns) > 0 {
		args += ", " + Literal(Structure(f.Columns))
	}
	settings := OneBlock()
	settings["schema_inference_make_columns_nullable"] = "0"
	// A file that was replaced has the same path; what was found out of the old
	// one does not hold.
	settings["schema_inference_use_cache_for_file"] = "0"
	if err := w.makeLookup(ctx, name, "AS SELECT * FROM file("+args+")", settings); err != nil {
		return job.Lookup{}, err
	}
	again, _, err := fingerprint(f)
	if err != nil {
		return job.Lookup{}, err
	}
	if again != hash {
		return job.Lookup{}, fmt.Errorf("the file %s was changed while it was read", f.Path)
	}
	l, err := w.lookup(ctx, name)
	l.Hash, l.Bytes = hash, size
	return l, err
}

// LoadNative makes a lookup of rows in the format Native, in one block and in
// their order, and says what it has then. The function writes the rows; its
// error is that of LoadNative.
func (w Workspace) LoadNative(ctx context.Context, name string, cols []job.Column, rows func(io.Writer) error) (job.Lookup, error) {
	if err := w.DeclareLookup(ctx, name, cols); err != nil {
		return job.Lookup{}, err
	}
	r, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := rows(to)
		_ = to.CloseWithError(err) // it always succeeds
		written <- err
	}()
	_, err := w.eng.Exec(ctx, engine.Statement{
		SQL: "INSERT INTO " + w.table(name) + " FORMAT Native", Settings: OneBlock(), Body: r,
	})
	_ = r.CloseWithError(err) // a writer must not wait for a reader that is gone
	if failed := <-written; failed != nil && (err == nil || errors.Is(err, failed)) {
		return job.Lookup{}, failed
	}
	if err != nil {
		return job.Lookup{}, fmt.Errorf("filling the table of the lookup: %w", err)
	}
	return w.lookup(ctx, name)
}

// DeclareLookup makes a lookup without rows.
func (w Workspace) DeclareLookup(ctx context.Context, name string, cols []job.Column) error {
	// A type is a piece of the statement: it must be one and nothing more.
	cols, err := w.Canonical(ctx, cols)
	if err != nil {
		return err
	}
	return w.makeLookup(ctx, name, "", nil, cols...)
}

func (w Workspace) makeLookup(ctx context.Context, name, rows string, settings map[string]string, cols ...job.Column) error {
	structure := ""
	if len(cols) > 0 {
		structure = " (" + Structure(cols) + ")"
	}
	sql := fmt.Sprintf("CREATE TABLE %s%s ENGINE = Memory %s", w.table(name), structure, rows)
	if _, err := w.eng.Exec(ctx, engine.Statement{SQL: sql, Settings: settings}); err != nil {
		return fmt.Errorf("making the table of the lookup: %w", err)
	}
	return nil
}

// lookup says what a lookup has.
func (w Workspace) lookup(ctx context.Context, name string) (l job.Lookup, err error) {
	if l.Columns, err = w.describe(ctx, w.table(name)); err != nil {
		return l, fmt.Errorf("asking for the columns of the lookup: %w", err)
	}
	if l.Rows, err = w.eng.CountRows(ctx, w.table(name), nil); err != nil {
		return l, fmt.Errorf("counting the rows of the lookup: %w", err)
	}
	return l, nil
}

func (w Workspace) table(name string) string {
	return Identifier(w.Database) + "." + Identifier(name)
}

// fingerprint is the SHA-256 of a file, and its size.
func fingerprint(file LookupFile) (string, int64, error) {
	f, err := file.Allow.Open(file.Path)
	if err != nil {
		err = fmt.Errorf("reading the file: %w", err)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			err = job.WithClass(err, job.Permanent)
		}
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", 0, fmt.Errorf("reading the file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}

// SameLookup returns ErrChanged unless what was loaded is what the job was
// planned with. From is where the rows are from, for people.
func SameLookup(planned, loaded job.Lookup, from string) error {
	differs := ""
	switch {
	case planned.Hash != loaded.Hash:
		differs = "the content is another"
	case planned.Rows != loaded.Rows:
		differs = fmt.Sprintf("it has %d rows and had %d", loaded.Rows, planned.Rows)
	case !slices.Equal(planned.Columns, loaded.Columns):
		differs = fmt.Sprintf("its columns are %s and were %s", Structure(loaded.Columns), Structure(planned.Columns))
	default:
		return nil
	}
	return job.WithClass(fmt.Errorf("%w: %s: %s", ErrChanged, from, differs), job.Permanent)
}
