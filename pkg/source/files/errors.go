package files

import (
	"errors"
	"io"
	"io/fs"
	"syscall"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// The errors of this package, what they are for a chunk, and why. Each names
// the file's path.
//
//	what happened                                         class      errors.Is
//	----------------------------------------------------  ---------  -----------
//	a path or a glob names no file, when planned          Permanent  fs.ErrNotExist
//	the file of a chunk is not there any more             Permanent  ErrGone
//	 also: a folder on its way became a file
//	the file of a chunk has another size or time, is      Permanent  ErrChanged
//	 another file, a folder or a device, or became
//	 shorter while it was read
//	this user may not read the file or a folder           Permanent  fs.ErrPermission
//	 (a person must give the right; every worker's user
//	 is the same, so another attempt would fail as well)
//	too many links, a name that is too long               Permanent  ELOOP, ENAMETOOLONG
//	the bytes are not what they should be: compression,   Permanent
//	 Parquet footer, quotes, brackets, header
//	a chunk's description does not parse                  Permanent
//	the chunk can not be cut any further                  Permanent  ErrWhole
//	the disk or the share failed: EIO, ESTALE, ETIMEDOUT  Retry      the errno
//	this process has no file handle left: EMFILE, ENFILE  Retry      the errno
//	no room for a scratch file: ENOSPC, ENOMEM            Retry      the errno
//	anything else that the operating system says          Retry      the errno
//
// A share that is not mounted looks like a file that is not there: the
// operating system does not tell the two apart.

// absent reports whether err says that there is no such file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// openError says why a path could not be read, and what to do.
func openError(p string, err error) error {
	switch {
	case absent(err):
		return job.Permanentf("%s does not exist: check the path, or where relative paths start: %w", p, err)
	case errors.Is(err, fs.ErrPermission):
		return job.Permanentf("%s can not be read: give this user the right to: %w", p, err)
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG):
		return job.Permanentf("opening %s: %w", p, err)
	}
	return job.Retryf("opening %s: %w", p, err)
}

// goneError is the error of a chunk whose file is not there any more.
func goneError(p string) error {
	return job.Permanentf("%s: %w: it was removed or renamed", p, source.ErrGone)
}

// shorterError is the error of a file that ends before the size it had.
func shorterError(p string) error {
	return job.Permanentf("%s: %w: it became shorter", p, source.ErrChanged)
}

// disk reads the bytes that a file had when it was opened, and keeps its own
// failure apart from what a decoder makes of it: a disk that fails is tried
// again, data that is damaged is not.
type disk struct {
	f   *file
	at  int64 // of Read
	err error // the first failure
}

// ReadAt implements io.ReaderAt.
func (d *disk) ReadAt(b []byte, at int64) (int, error) {
	n, err := d.f.ReadAt(b, at)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF) && d.f.local() == nil:
		// the store knows its class
	case !errors.Is(err, io.EOF):
		err = job.Retryf("reading %s: %w", d.f.path, err)
	case at+int64(n) >= d.f.Size:
		return n, err
	default:
		err = shorterError(d.f.path)
	}
	if d.err == nil {
		d.err = err
	}
	return n, err
}

// Read implements io.Reader.
func (d *disk) Read(b []byte) (int, error) {
	if d.f.Size >= 0 {
		if d.at >= d.f.Size {
			return 0, io.EOF
		}
		b = b[:min(int64(len(b)), d.f.Size-d.at)]
	}
	n, err := d.ReadAt(b, d.at)
	d.at += int64(n)
	return n, err
}

// or returns the disk's own failure, or else err.
func (d *disk) or(err error) error {
	if d.err != nil {
		return d.err
	}
	return err
}
