package store

import "net/url"

// CheckEndpoint reports what is wrong with the address of a server, "" for none:
// such is an example, and instead says how credentials are written.
func CheckEndpoint(endpoint, such, instead string, bad func(field, problem, hint string)) {
	u, err := url.Parse(endpoint)
	switch {
	case endpoint == "":
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		bad("endpoint", "is no address of a server", "such as "+such)
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		bad("endpoint", "holds a user, a password or a query", "write "+instead)
	}
}
