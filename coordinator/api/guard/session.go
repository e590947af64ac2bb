package guard

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"time"
)

// SessionCookie is the name of the cookie of a login.
const SessionCookie = "dray_session"

// minSessionKey is how long the key of DRAY_HTTP_SESSION_KEY_FILE must be.
const minSessionKey = 32

// sessions are logins of browsers: a cookie that says which token it was made
// with and until when it is good, signed. Nothing of them is kept here, so a
// logout makes the browser forget; a token that is taken out of the file ends
// the sessions that were made with it.
type sessions struct {
	key  []byte
	good time.Duration
}

// session is what the cookie says.
type session struct {
	Token []byte `json:"t"` // the beginning of what is signed of the token's digest
	Until int64  `json:"u"` // Unix seconds
}

func newSessions(cfg Config) (sessions, error) {
	s := sessions{key: make([]byte, minSessionKey), good: cfg.Session}
	if cfg.SessionFile == "" {
		_, err := rand.Read(s.key)
		return s, err
	}
	key, err := os.ReadFile(cfg.SessionFile)
	if err != nil {
		return s, settingError("DRAY_HTTP_SESSION_KEY_FILE", "%w", err)
	}
	if s.key = []byte(strings.TrimSpace(string(key))); len(s.key) < minSessionKey {
		return s, settingError("DRAY_HTTP_SESSION_KEY_FILE", "%s has fewer than %d bytes; openssl rand -hex 32 makes a good key", cfg.SessionFile, minSessionKey)
	}
	return s, nil
}

func (s sessions) sign(what string, data []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(what + "\x00"))
	mac.Write(data)
	return mac.Sum(nil)
}

// mark is what a session says of its token: nothing can be told from it.
func (s sessions) mark(t token) []byte { return s.sign("token", t.digest[:])[:16] }

// cookie is the session of a token from now on.
func (s sessions) cookie(t token, now time.Time, secure bool) (*http.Cookie, error) {
	text, err := json.Marshal(session{s.mark(t), now.Add(s.good).Unix()})
	if err != nil {
		return nil, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	return &http.Cookie{
		Name: SessionCookie, Value: encode(text) + "." + encode(s.sign("session", text)), Path: "/",
		MaxAge: int(s.good.Seconds()), HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
	}, nil
}

// read finds the token of a request's session.
func (s sessions) read(r *http.Request, ts *tokens) (token, bool) {
	c, err := r.Cookie(SessionCookie)
	if err != nil {
		return token{}, false
	}
	text, signature, _ := strings.Cut(c.Value, ".")
	plain, err := base64.RawURLEncoding.DecodeString(text)
	signed, err2 := base64.RawURLEncoding.DecodeString(signature)
	var said session
	if err != nil || err2 != nil || !hmac.Equal(signed, s.sign("session", plain)) || json.Unmarshal(plain, &said) != nil ||
		time.Now().Unix() >= said.Until {
		return token{}, false
	}
	for _, t := range ts.all() {
		if hmac.Equal(s.mark(t), said.Token) {
			return t, true
		}
	}
	return token{}, false
}

// Login begins a session with the token of a form, in the field token, and sends
// the browser on to the field next, a path of this server. failed shows the form
// again.
func (g *Guard) Login(failed func(http.ResponseWriter, *http.Request, Refusal)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := g.tokens.match(strings.TrimSpace(r.PostFormValue("token")))
		if !ok {
			g.log.Warn().Str("client", clientOf(r)).Msg("a login with a token that is not known")
			failed(w, r, Refusal{http.StatusUnauthorized, "the token is not known", "no token of this coordinator is like that", "a token stands in DRAY_HTTP_TOKENS_FILE behind role and name"})
			return
		}
		// Behind a proxy that ends TLS the browser says what it speaks.
		secure := r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://")
		c, err := g.sessions.cookie(t, time.Now(), secure)
		if err != nil {
			failed(w, r, Refusal{http.StatusInternalServerError, "the login could not be made", err.Error(), ""})
			return
		}
		http.SetCookie(w, c)
		g.log.Info().Str("who", t.name).Str("role", t.role.String()).Str("client", clientOf(r)).Msg("logged in")
		http.Redirect(w, r, LocalPath(r.PostFormValue("next")), http.StatusSeeOther)
	})
}

// Logout makes the browser forget its session.
func (g *Guard) Logout() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: SessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	})
}

// LocalPath is a path of this server, or / for what is none: another site, or
// what a browser might take for one.
func LocalPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}
