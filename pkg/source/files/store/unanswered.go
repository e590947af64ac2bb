package store

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Unanswered is the error of a request that got no answer. No attempt cures that
// there is no such host, for which hint says where to look, or that its
// certificate is not trusted; else it is of the class of err. said is err without
// what is secret.
func Unanswered(what, hint string, said, err error) error {
	var host *net.DNSError
	switch {
	case errors.As(err, &host) && host.IsNotFound && !host.IsTemporary:
		return job.Permanentf("%s: there is no host %s: look at %s: %w", what, host.Name, hint, said)
	case source.Untrusted(err):
		return job.Permanentf("%s: the certificate of the server is not trusted: %w", what, said)
	}
	return job.WithClass(fmt.Errorf("%s: %w", what, said), job.ClassOf(err))
}

// Clip makes one line of what a server or its client said, of at most most bytes.
func Clip(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
