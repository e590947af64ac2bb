package store

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"drayage/pkg/allow"
	"drayage/pkg/source"
)

// NewTransport makes the connections of a store. With seats, a request takes
// one before it connects, holds it until its answer's body is closed, and its
// connection is not kept for another. It connects to what allow allows.
func NewTransport(seats source.Seats, allow *allow.Rules) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	t.DisableCompression = true                          // bytes are asked for as they are stored
	t.MaxIdleConnsPerHost = 16
	t.IdleConnTimeout = 30 * time.Second
	t.ResponseHeaderTimeout = time.Minute
	allow.Guard(t)
	if seats == nil {
		return t
	}
	t.DisableKeepAlives = true
	return &seated{t, seats}
}

// seated makes requests with a seat.
type seated struct {
	to    http.RoundTripper
	seats source.Seats
}

// RoundTrip implements http.RoundTripper.
func (s *seated) RoundTrip(req *http.Request) (*http.Response, error) {
	held, release, err := s.seats.Take(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as a RoundTripper has to
		}
		return nil, fmt.Errorf("waiting for a seat at %s: %w", req.URL.Host, err)
	}
	ctx, cancel := context.WithCancel(held)
	end := sync.OnceFunc(func() { cancel(); release() })
	res, err := s.to.RoundTrip(req.WithContext(ctx))
	if err != nil {
		end()
		return nil, err
	}
	res.Body = &seatedBody{res.Body, end}
	return res, nil
}

// seatedBody gives the seat back once it is closed.
type seatedBody struct {
	io.ReadCloser
	end func()
}

// Close implements io.Closer.
func (b *seatedBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}
