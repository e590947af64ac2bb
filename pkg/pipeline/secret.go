package pipeline

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// minSecret is the length below which a value is not taken for a secret: it would
// stand in any text.
const minSecret = 4

// hidden stands for a secret.
const hidden = "[hidden]"

// keep remembers a value that came from the environment or a file, and the
// password in it when it is a URL.
func (p *Pipeline) keep(value string) {
	forms := []string{value, url.QueryEscape(value), url.PathEscape(value)}
	if u, err := url.Parse(value); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok {
			forms = append(forms, password, url.QueryEscape(password), url.PathEscape(password))
		}
	}
	for _, f := range forms {
		if len(f) >= minSecret && !slices.Contains(p.secrets, f) {
			p.secrets = append(p.secrets, f)
		}
	}
	// The longest first, or what is around a shorter one would be left.
	slices.SortFunc(p.secrets, func(a, b string) int { return len(b) - len(a) })
}

// Redact returns an error whose text has [hidden] in the place of every value
// that Resolve took from the environment or a file, also as URLs write it. Its
// class is that of err, and what err wraps is found in it, Errors redacted too.
// Values of less than 4 bytes stay.
func (p *Pipeline) Redact(err error) error {
	if err == nil || p.hide(err.Error()) == err.Error() {
		return err
	}
	var mistakes Errors
	if !errors.As(err, &mistakes) {
		return &redacted{err, p.hide(err.Error())}
	}
	var clean Errors
	for _, m := range mistakes {
		one := *m
		one.Problem, one.Hint = p.hide(m.Problem), p.hide(m.Hint)
		clean = append(clean, &one)
	}
	return job.WithClass(clean, job.ClassOf(err))
}

func (p *Pipeline) hide(text string) string {
	for _, s := range p.secrets {
		text = strings.ReplaceAll(text, s, hidden)
	}
	return text
}

type redacted struct {
	err  error
	text string
}

func (e *redacted) Error() string { return e.text }
func (e *redacted) Unwrap() error { return e.err }
