package files

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/store"
)

// Opener makes the client of a bucket, a container or, of https, a server. It
// connects to nothing.
type Opener func(bucket string) (store.Store, error)

// place is a bucket of a store; the zero place is this machine.
type place struct {
	scheme string
	bucket string // of https the host, with user and password where the address has them
}

// listed reports whether the objects of the place can be listed, so that a glob
// can name them.
func (p place) listed() bool { return p.scheme != "http" && p.scheme != "https" }

// String is such as s3://bucket/, without user and password.
func (p place) String() string {
	_, host, found := strings.Cut(p.bucket, "@")
	if !found || p.listed() {
		host = p.bucket
	}
	return p.scheme + "://" + host + "/"
}

var schemeOf = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*)://`)

// splitAddress takes an address of an object apart; that of a file of this
// machine has the zero place and is its own key.
func splitAddress(text string) (at place, key string) {
	m := schemeOf.FindStringSubmatch(text)
	if m == nil {
		return place{}, text
	}
	at.scheme = strings.ToLower(m[1])
	rest := text[len(m[0]):]
	if at.listed() {
		at.bucket, key, _ = strings.Cut(rest, "/")
		return at, key
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at.bucket, key = rest[:end], strings.TrimPrefix(rest[end:], "/")
	key, _, _ = strings.Cut(key, "#")
	return at, key
}

// bare is an address of https without what may be secret: its query.
func bare(at place, key string) string {
	key, _, _ = strings.Cut(key, "?")
	return at.String() + key
}

// meta are the letters of globs.
const meta = `*?[{\`

// newRemoteGlob is the glob of objects; name is what people call the one object
// of a glob without meta characters.
func newRemoteGlob(text string, at place, key, name string) glob {
	g := glob{text: text, at: at, name: name, base: key}
	if i := strings.IndexAny(key, meta); i >= 0 && at.listed() {
		g.base, g.rest, g.name = key[:i], key, at.String()+key
	}
	return g
}

// globsOf makes the globs of the paths, and names the addresses of https: by
// name, the key below their place.
func globsOf(paths []string) (globs []glob, keys map[string]webKey) {
	keys = map[string]webKey{}
	for _, text := range paths {
		at, key := splitAddress(text)
		switch {
		case at == (place{}):
			globs = append(globs, newGlob(text))
			continue
		case at.listed():
			globs = append(globs, newRemoteGlob(text, at, key, at.String()+key))
			continue
		}
		name, mine := bare(at, key), webKey{at, key}
		for n := 2; ; n++ {
			other, taken := keys[name]
			if !taken || other == mine {
				break
			}
			name = fmt.Sprintf("%s#%d", bare(at, key), n)
		}
		keys[name] = mine
		globs = append(globs, newRemoteGlob(name, at, key, name))
	}
	return globs, keys
}

// webKey is the address of a file of https, with what may be secret in it.
type webKey struct {
	at  place
	key string
}

// place is where the file at path is, as a walk names it.
func (s *Source) place(path string) (place, error) {
	at, _ := splitAddress(path)
	if at.listed() {
		return at, nil
	}
	k, there := s.keys[path]
	if !there {
		return place{}, job.Permanentf("%s is not among the addresses of the pipeline", path)
	}
	return k.at, nil
}

// plainName is the path without what only tells two addresses apart.
func plainName(path string) string {
	if at, _ := splitAddress(path); at.listed() {
		return path
	}
	path, _, _ = strings.Cut(path, "#")
	return path
}

// checkAddress finds mistakes in the address of an object.
func (c Config) checkAddress(text string, bad source.Complain) {
	at, key := splitAddress(text)
	shown := text
	if !at.listed() {
		shown = bare(at, key)
	}
	_, known := c.Stores[at.scheme]
	before, _, _ := strings.Cut(key, "?")
	switch {
	case !known:
		bad("path", "one of "+strings.Join(slices.Sorted(maps.Keys(c.Stores)), ", ")+", or a path of this machine", "%q begins with %s://, which is not known", shown, at.scheme)
	case at.bucket == "" || key == "":
		bad("path", "such as "+at.scheme+"://bucket/folder/*.csv", "%q names no object", shown)
	case at.listed() && !doublestar.ValidatePattern(key):
		bad("path", "a [ or { is not closed; write \\[ for the letter", "%q is not a glob", shown)
	case at.listed() && numericRange.MatchString(key):
		bad("path", "list the numbers, such as {1,2,3}, or use * or [0-9]", "%q has a range of numbers, which is not supported", shown)
	case at.listed() && strings.ContainsAny(at.bucket, meta):
		bad("path", "name the bucket", "%q has a glob in the name of its bucket", shown)
	case !at.listed() && strings.ContainsAny(before, `*[]{}\`):
		bad("path", "name each file, as a list; in a name write %2A for *, %5B and %5D for [ and ], %7B and %7D for { and }", "%q is a glob, and a web server does not list its files", shown)
	default:
		if at.listed() {
			return
		}
		if _, err := url.Parse(at.scheme + "://" + at.bucket + "/" + key); err != nil {
			bad("path", "letters that are none of an address are written as %20 and the like", "%q is not an address", shown)
		}
	}
}
