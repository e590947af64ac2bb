package guard

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// token is one that may be presented. What it is can not be told from it.
type token struct {
	name   string
	role   Role
	digest [sha256.Size]byte
}

func (t token) who() Who { return Who{Name: t.name, Role: t.role, token: true} }

// Bounds of tokens.
const (
	minToken  = 16 // characters: fewer can be guessed
	maxTokens = 1000
)

// A name is logged, a token never. What is as long as a token and has digits in
// it, as random ones do, is not taken for a name.
const fewDigits = 1

var validName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// parseTokens reads tokens: role:name:token, where the token may be
// sha256:HEX, the digest of what is presented. They are separated by white space
// or commas; what follows a # in a line is left out.
func parseTokens(text string) ([]token, error) {
	var all []token
	names := map[string]Role{}
	for number, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == ',' }) {
			t, err := parseToken(word)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number+1, err)
			}
			if role, taken := names[t.name]; taken && role != t.role {
				return nil, fmt.Errorf("line %d: its name has the role %s already; several tokens of one name are of one role", number+1, role)
			}
			names[t.name] = t.role
			if all = append(all, t); len(all) > maxTokens {
				return nil, fmt.Errorf("line %d: there are more than %d tokens", number+1, maxTokens)
			}
		}
	}
	return all, nil
}

// parseToken reads one. Its errors show nothing of it, since the token may stand
// in the place of the name or the role.
func parseToken(word string) (token, error) {
	parts := strings.SplitN(word, ":", 3)
	if len(parts) != 3 {
		return token{}, fmt.Errorf("write role:name:token, such as operate:ci:$(openssl rand -hex 24)")
	}
	role, err := ParseRole(parts[0])
	if err != nil {
		return token{}, errors.New("the role of a token is read, operate or admin; write role:name:token")
	}
	t := token{name: parts[1], role: role}
	if !validName.MatchString(t.name) {
		return token{}, fmt.Errorf("the name of a token is 1 to 64 characters of [A-Za-z0-9_.-]")
	}
	if secretive(t.name) {
		return token{}, fmt.Errorf("the name of a token is logged, and this one looks like a token: write role:name:token; a name of %d or more characters has at most %d digit", minToken, fewDigits)
	}
	if digest, hashed := strings.CutPrefix(parts[2], "sha256:"); hashed {
		plain, err := hex.DecodeString(digest)
		if err != nil || len(plain) != sha256.Size {
			return token{}, errors.New("the digest of a token is 64 hexadecimal digits")
		}
		copy(t.digest[:], plain)
		return t, nil
	}
	if len(parts[2]) < minToken {
		return token{}, fmt.Errorf("a token has at least %d characters; openssl rand -hex 24 makes a good one", minToken)
	}
	t.digest = sha256.Sum256([]byte(parts[2]))
	return t, nil
}

// secretive reports whether a name may be a token that stands in its place.
func secretive(name string) bool {
	digits := 0
	for _, r := range name {
		if r >= '0' && r <= '9' {
			digits++
		}
	}
	return len(name) >= minToken && digits > fewDigits
}

// tokens are those of the configuration, and those of a file as it is now.
type tokens struct {
	fixed []token
	file  string // empty: none
	log   zerolog.Logger

	mu      sync.RWMutex
	read    []token
	looked  time.Time // when the file was last looked at
	changed time.Time // the file's time as it was read
	size    int64
}

// lookAgain is how long a file is taken to be as it was.
const lookAgain = time.Second

func newTokens(cfg Config, log zerolog.Logger) (*tokens, error) {
	ts := &tokens{file: cfg.TokensFile, log: log}
	var err error
	if ts.fixed, err = parseTokens(cfg.Tokens); err != nil {
		return nil, settingError("DRAY_HTTP_TOKENS", "%w", err)
	}
	if ts.file == "" {
		return ts, nil
	}
	if err := ts.load(); err != nil {
		return nil, settingError("DRAY_HTTP_TOKENS_FILE", "%w", err)
	}
	if len(ts.read) == 0 {
		return nil, settingError("DRAY_HTTP_TOKENS_FILE", "%s has no token in it", ts.file)
	}
	return ts, nil
}

// any reports whether tokens are asked for. It does not change: a file that
// loses all its tokens lets nobody in.
func (ts *tokens) any() bool { return ts.file != "" || len(ts.fixed) > 0 }

func (ts *tokens) load() error {
	info, err := os.Stat(ts.file)
	if err != nil {
		return err
	}
	if !info.ModTime().Equal(ts.changed) || info.Size() != ts.size {
		text, err := os.ReadFile(ts.file)
		if err != nil {
			return err
		}
		read, err := parseTokens(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", ts.file, err)
		}
		ts.read, ts.changed, ts.size = read, info.ModTime(), info.Size()
	}
	return nil
}

// all returns the tokens as they are now. Where the file can not be read, those
// that it had stay.
func (ts *tokens) all() []token {
	ts.mu.RLock()
	fresh, now := ts.file == "" || time.Since(ts.looked) < lookAgain, ts.read
	ts.mu.RUnlock()
	if !fresh {
		ts.mu.Lock()
		if time.Since(ts.looked) >= lookAgain {
			ts.looked = time.Now()
			if err := ts.load(); err != nil {
				ts.log.Error().Err(err).Msg("DRAY_HTTP_TOKENS_FILE can not be read; its tokens stay as they were")
			}
		}
		now = ts.read
		ts.mu.Unlock()
	}
	if len(ts.fixed) == 0 {
		return now
	}
	return append(now[:len(now):len(now)], ts.fixed...)
}

// match finds the token that was presented. It takes the same time whichever it
// is, and whether it is any.
func (ts *tokens) match(presented string) (found token, ok bool) {
	digest := sha256.Sum256([]byte(presented))
	for _, t := range ts.all() {
		if subtle.ConstantTimeCompare(t.digest[:], digest[:]) == 1 {
			found, ok = t, true
		}
	}
	return found, ok
}
