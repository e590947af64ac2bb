// Package store says what a store of objects is, such as a bucket of S3 or a
// server that gives out files: something that lists the objects below a prefix
// in an order, and reads a range of bytes of one version of one of them. One
// sub-package holds each kind of store.
package store

import (
	"context"
	"errors"
	"io"
	"time"
)

// Errors that stores return, marked job.Permanent.
var (
	// ErrNotFound: there is no object of that key.
	ErrNotFound = errors.New("there is no such object")
	// ErrChanged: the object is not the version that was asked for any more.
	ErrChanged = errors.New("the object is another version")
)

// Object is one version of an object.
type Object struct {
	Key     string // within the store, without a slash at its begin
	Size    int64  // bytes, as stored; -1 where the store does not say, and then Whole is true
	Version string // changes whenever the content does: an ETag, a generation; never empty
	// Modified is the time of the last change, for people; zero where the store
	// does not say.
	Modified time.Time
	// Whole says that the store can not read a part of it: a Read begins at 0
	// and ends at Size.
	Whole bool
}

// Store is a bucket, container or server. Its methods may be called
// concurrently, and hold no connection between calls but idle ones. Every error
// is of the class that it has for a chunk, and names the object, but no secret.
type Store interface {
	// List calls yield with the objects whose key begins with prefix and comes
	// after the key after ("": all), in an order that the keys alone decide: that
	// of their bytes, or the store's own. It ends at its first error, which it
	// returns as it is. It holds one page of the listing in memory. A store that
	// can not list returns an error that says so.
	List(ctx context.Context, prefix, after string, yield func(Object) error) error

	// Stat returns the current version of an object, or ErrNotFound.
	Stat(ctx context.Context, key string) (Object, error)

	// Read reads the bytes [start, end) of the version o. It returns ErrChanged
	// when the object is another version by now, which the server itself is
	// asked to compare, ErrNotFound when it is gone. What it returns breaks off
	// with an error, and not with io.EOF, when fewer bytes come than were asked
	// for; ctx ends it at once. A request that fails is made again where that may
	// help, for some seconds; what breaks later is left to the caller, who reads on
	// where it broke.
	Read(ctx context.Context, o Object, start, end int64) (io.ReadCloser, error)
}
