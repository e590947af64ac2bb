package guard

import (
	"net/http"
	"time"
)

// ExpiredCookie is the cookie of a login whose time is over.
func ExpiredCookie(g *Guard, presented string) *http.Cookie {
	t, ok := g.tokens.match(presented)
	if !ok {
		return nil
	}
	c, err := g.sessions.cookie(t, time.Now().Add(-2*g.sessions.good), false)
	if err != nil {
		return nil
	}
	return c
}
