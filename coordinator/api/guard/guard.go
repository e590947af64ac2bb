// Package guard stands between the network and HTTP handlers: it says who asks,
// and lets through what they may do. It knows nothing of jobs.
//
//	guard.go    what stands before every handler, and before those that need a role
//	config.go   what can be configured, and what is refused
//	role.go     roles, and who asks
//	token.go    tokens, from a file that may change
//	session.go  the cookie that a browser has in place of a token
//	limit.go    requests a second of each client
//	tls.go      the certificate, from files that may change
package guard

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/rs/zerolog"
)

// Refusal is why a request is not let through.
type Refusal struct {
	Status int
	Title  string
	Detail string
	Hint   string // what to do
}

// The names under which the guard puts what it is made of.
const (
	contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	maxBody       = 1 << 20 // bytes of a request
)

// Guard is made with New and is safe for concurrent use.
type Guard struct {
	cfg      Config
	loopback bool
	tokens   *tokens
	sessions sessions
	limits   *limits
	origins  *http.CrossOriginProtection
	log      zerolog.Logger
	// refuse answers a request that is not let through.
	refuse func(http.ResponseWriter, *http.Request, Refusal)
}

// New makes the guard of a server that listens on addr. It refuses a
// configuration that would let strangers in, and says what to do. refuse answers
// what is not let through.
func New(cfg Config, addr string, log zerolog.Logger, refuse func(http.ResponseWriter, *http.Request, Refusal)) (*Guard, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g := &Guard{cfg: cfg, loopback: loopback(addr), limits: newLimits(cfg.Rate), origins: http.NewCrossOriginProtection(), log: log, refuse: refuse}
	var err error
	if g.tokens, err = newTokens(cfg, log); err != nil {
		return nil, err
	}
	if g.sessions, err = newSessions(cfg); err != nil {
		return nil, err
	}
	if err := cfg.exposed(addr, g.tokens.any()); err != nil {
		return nil, err
	}
	for _, o := range cfg.Origins {
		if err := g.origins.AddTrustedOrigin(o); err != nil {
			return nil, settingError("DRAY_HTTP_ORIGINS", "%w", err)
		}
	}
	g.origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, Refusal{http.StatusForbidden, "the request comes from another site", "a page of another origin asked for a change",
			"use the page of this coordinator; where a proxy gives it another name, put that origin into DRAY_HTTP_ORIGINS"})
	}))
	return g, nil
}

// loopback reports whether an address to listen on is reached from this machine
// alone.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Handler puts in front of next what holds for every request: headers that keep
// browsers from doing what the page does not ask for, no changes from other
// sites, a bounded body, who asks, and how often.
func (g *Guard) Handler(next http.Handler) http.Handler {
	identified := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, refusal := g.identify(r)
		client := clientOf(r)
		if who.token {
			client = "token " + who.Name
		}
		if !g.limits.allow(client) {
			w.Header().Set("Retry-After", "1")
			g.refuse(w, r, Refusal{http.StatusTooManyRequests, "too many requests", "this client asks more often than DRAY_HTTP_RATE allows", "wait a second; follow jobs by /api/v1/events, and wait for one with ?wait="})
			return
		}
		who.refusal = refusal
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r.WithContext(with(r.Context(), who)))
	})
	crossing := g.origins.Handler(identified)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // none at all would hide the origin of a form too
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		crossing.ServeHTTP(w, r)
	})
}

// Require lets through to next who has the role, or a higher one. Of a handler
// behind Handler only; without it nobody is let through.
func (g *Guard) Require(role Role, next http.Handler) http.Handler {
	if role == Open {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := Of(r.Context())
		switch {
		case !g.hostAllowed(r.Host):
			g.refuse(w, r, Refusal{http.StatusMisdirectedRequest, "this server is not called that", "the request is for the host " + host(r.Host) + ", which is none of this server's names",
				"use http://127.0.0.1 or localhost, or put the name into DRAY_HTTP_HOSTS"})
		case who.refusal != nil:
			w.Header().Set("WWW-Authenticate", `Bearer realm="dray"`)
			g.refuse(w, r, *who.refusal)
		case who.Role < role:
			g.refuse(w, r, Refusal{http.StatusForbidden, "the token may not do that", "the token " + who.Name + " has the role " + who.Role.String() + "; this needs " + role.String(),
				"ask with a token of the role " + role.String()})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// identify finds out who asks.
func (g *Guard) identify(r *http.Request) (Who, *Refusal) {
	if !g.tokens.any() {
		name := "local"
		if !g.loopback {
			name = "anyone"
		}
		return Who{Name: name, Role: Admin}, nil
	}
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, value, _ := strings.Cut(header, " ")
		if t, ok := g.tokens.match(strings.TrimSpace(value)); ok && strings.EqualFold(scheme, "Bearer") {
			return t.who(), nil
		}
		return Who{}, &Refusal{http.StatusUnauthorized, "the token is not known", "the header Authorization has no token of this coordinator",
			"send Authorization: Bearer and a token of DRAY_HTTP_TOKENS_FILE"}
	}
	if t, ok := g.sessions.read(r, g.tokens); ok {
		return t.who(), nil
	}
	return Who{}, &Refusal{http.StatusUnauthorized, "a token is needed", "the request has no token", "send Authorization: Bearer and a token of DRAY_HTTP_TOKENS_FILE, or log in at /login"}
}

// hostAllowed reports whether a request may name this host. Without tokens every
// page that a browser shows could otherwise reach the server under a name of its
// own that leads to 127.0.0.1.
func (g *Guard) hostAllowed(hostport string) bool {
	name := host(hostport)
	if slices.ContainsFunc(g.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, name) }) {
		return true
	}
	if len(g.cfg.Hosts) == 0 && (g.tokens.any() || !g.loopback) {
		return true
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// host is the name in host:port, in lower case.
func host(hostport string) string {
	u := url.URL{Host: hostport}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}

// clientOf is the address that a request comes from, without its port.
func clientOf(r *http.Request) string {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return client
}
