// Package stores is the one list of the kinds of store that files are read from.
package stores

import (
	"slices"

	"drayage/pkg/allow"
	"drayage/pkg/source"
	"drayage/pkg/source/files"
	"drayage/pkg/source/files/store"
	"drayage/pkg/source/files/store/azure"
	"drayage/pkg/source/files/store/gcs"
	"drayage/pkg/source/files/store/s3"
	"drayage/pkg/source/files/store/web"
)

// Config says how each kind of store is reached.
type Config struct {
	S3    s3.Config
	GCS   gcs.Config
	Azure azure.Config
	Web   web.Config
	Seats source.Seats // for the connections of all of them
	Allow *allow.Rules // what they may reach; nil: everything
}

// Validate reports the mistakes in c as source.FieldErrors, or nil.
func (c Config) Validate() error {
	return slices.Concat(c.S3.Validate(), c.GCS.Validate(), c.Azure.Validate(), c.Web.Validate()).Err()
}

// Openers make the stores, by the scheme of their addresses.
func (c Config) Openers() map[string]files.Opener {
	c.S3.Seats, c.GCS.Seats, c.Azure.Seats, c.Web.Seats = c.Seats, c.Seats, c.Seats, c.Seats
	c.S3.Allow, c.GCS.Allow, c.Azure.Allow, c.Web.Allow = c.Allow, c.Allow, c.Allow, c.Allow
	return map[string]files.Opener{
		"s3":    func(bucket string) (store.Store, error) { return s3.New(c.S3, bucket), nil },
		"gs":    func(bucket string) (store.Store, error) { return gcs.New(c.GCS, bucket), nil },
		"az":    func(bucket string) (store.Store, error) { return azure.New(c.Azure, bucket) },
		"http":  func(host string) (store.Store, error) { return web.New(c.Web, "http://"+host) },
		"https": func(host string) (store.Store, error) { return web.New(c.Web, "https://"+host) },
	}
}
