package storetest

import (
	"net/http"
	"net/http/httputil"
	"net/url"
)

// Proxy hands requests to a server of another process as they are, for
// Case.Server. It keeps no connections.
func Proxy(address string) (http.Handler, error) {
	to, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		FlushInterval: -1,
		// The client went away, or the server.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}, nil
}
