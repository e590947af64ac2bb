package allow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// hostRule is a name, names below a domain, or addresses; each on one port or on
// all.
type hostRule struct {
	all    bool
	name   string // lower case; with below, what the names end in
	below  bool
	prefix netip.Prefix
	port   uint16 // 0: all
}

func newHostRule(text string) (hostRule, error) {
	var rule hostRule
	var host string
	if h, port, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return rule, fmt.Errorf("%q is no port", port)
		}
		host, rule.port = h, uint16(n)
	} else if host = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"); strings.Contains(text, "/") {
		// fd00::/8 has no port; 10.0.0.0/8:5432 has one.
		host = text
	}
	if host == wildcard {
		rule.all = true
		return rule, nil
	}
	if prefix, err := netip.ParsePrefix(host); err == nil {
		rule.prefix = prefix.Masked()
		return rule, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		rule.prefix = netip.PrefixFrom(addr, addr.BitLen())
		return rule, nil
	}
	rule.name = strings.ToLower(strings.TrimSuffix(host, "."))
	if rest, ok := strings.CutPrefix(rule.name, "*."); ok {
		rule.name, rule.below = "."+rest, true
	}
	if strings.Trim(rule.name, ".") == "" || strings.ContainsAny(rule.name, "*/:@?# ") {
		return rule, errors.New("it is none of host, *.domain, address and 10.0.0.0/8, each with or without :port")
	}
	return rule, nil
}

func (h hostRule) onPort(port uint16) bool { return h.port == 0 || port == 0 || h.port == port }

// names reports whether the rule allows a name.
func (h hostRule) names(name string) bool {
	switch {
	case h.all:
		return true
	case h.name == "":
		return false
	case h.below:
		return strings.HasSuffix(name, h.name)
	}
	return name == h.name
}

// special are addresses of this machine, of its link and of what a cloud tells
// its machines: whoever is meant to reach them is named by address.
var special = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("ff00::/8"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("fd00:ec2::254/128"), netip.MustParsePrefix("168.63.129.16/32"), netip.MustParsePrefix("100.100.100.200/32"),
}

var loopback = special[:2]

// translated are IPv6 addresses that are IPv4 addresses behind a gateway.
var translated = netip.MustParsePrefix("64:ff9b::/96")

// plain is the address that is reached in the end.
func plain(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if translated.Contains(ip) {
		b := ip.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}

// address refuses an address under which host is reached.
func (r *Rules) address(host string, ip netip.Addr, port uint16) error {
	ip = plain(ip)
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	within := func(list []netip.Prefix) (netip.Prefix, bool) {
		i := slices.IndexFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
		if i < 0 {
			return netip.Prefix{}, false
		}
		return list[i], true
	}
	narrow, isSpecial := within(special)
	_, isLoopback := within(loopback)
	for _, rule := range r.hosts {
		switch {
		case !rule.onPort(port):
		case rule.prefix.IsValid():
			// A rule that is wider does not mean the special ones in it.
			if rule.prefix.Contains(ip) && (!isSpecial || rule.prefix.Bits() >= narrow.Bits()) {
				return nil
			}
		case rule.names(name) && !isSpecial:
			return nil
		case rule.name == "localhost" && name == rule.name && isLoopback:
			return nil
		}
	}
	why := ""
	if isSpecial {
		why = fmt.Sprintf("%s is an address of this machine, its link or its cloud; only a rule with that address allows it", ip)
	}
	what := "the host " + host
	if host != ip.String() {
		what += " at " + ip.String()
	}
	if port != 0 {
		what += fmt.Sprintf(", port %d", port)
	}
	return refused(what, hosts, why)
}

// Host refuses a host by what can be told without looking it up; port 0: any. A
// name that no rule has is allowed here where rules have addresses: Dial sees
// which one it is of.
func (r *Rules) Host(host string, port uint16) error {
	if r == nil {
		return nil
	}
	return r.host(host, port, true)
}

func (r *Rules) host(host string, port uint16, byAddress bool) error {
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(host); err == nil {
		return r.address(host, ip, port)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	for _, rule := range r.hosts {
		if rule.onPort(port) && (rule.names(name) || byAddress && rule.prefix.IsValid()) {
			return nil
		}
	}
	what := "the host " + host
	if port != 0 {
		what += fmt.Sprintf(", port %d", port)
	}
	return refused(what, hosts, "")
}

// Lookup refuses a host that something else will connect to: the name must be
// one that a rule has, or an address, and each address that it has now must be
// allowed. Whoever connects looks it up again: for one that names hosts as it
// likes, the rule * is not enough.
func (r *Rules) Lookup(ctx context.Context, host string, port uint16) error {
	if r == nil {
		return nil
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(host); err == nil {
		return r.address(host, ip, port)
	}
	named := &Rules{hosts: slices.DeleteFunc(slices.Clone(r.hosts), func(h hostRule) bool { return h.all })}
	if err := named.host(host, port, false); err != nil {
		if r.host(host, port, false) == nil {
			return refused("the host "+host, hosts, "what connects by itself needs its hosts by name, and not as *")
		}
		return err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("looking up the host %s: %w", host, err)
	}
	for _, ip := range ips {
		if err := r.address(host, ip, port); err != nil {
			return err
		}
	}
	return nil
}

// Dial is net.Dialer.DialContext to what may be reached. The address that is
// really connected to is judged, whatever a name means at that moment; a path of
// a socket is judged as one that is read.
func (r *Rules) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return r.Dialer(net.Dialer{})(ctx, network, address)
}

// Dialer is Dial with the settings of d.
func (r *Rules) Dialer(d net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	if r == nil {
		return d.DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(network, "unix") {
			if _, err := r.Path(address); err != nil {
				return nil, err
			}
			return d.DialContext(ctx, network, address)
		}
		host, service, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		port, err := net.DefaultResolver.LookupPort(ctx, network, service)
		if err != nil {
			return nil, err
		}
		if err := r.Host(host, uint16(port)); err != nil { //nolint:gosec // a port
			return nil, err
		}
		own := d
		own.ControlContext = func(_ context.Context, _, to string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(to)
			if err != nil {
				return err
			}
			return r.address(host, at.Addr(), at.Port())
		}
		return own.DialContext(ctx, network, address)
	}
}

// Guard makes an HTTP transport, which it changes, connect to what may be
// reached, redirects included. Behind a proxy of the environment the proxy is
// what is connected to, so it needs a rule too, and hosts are judged by name.
func (r *Rules) Guard(t *http.Transport) {
	if r == nil {
		return
	}
	t.DialContext = r.Dial
	proxy := t.Proxy
	if proxy == nil {
		return
	}
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		by, err := proxy(req)
		if by == nil || err != nil {
			return nil, err
		}
		return by, r.host(req.URL.Hostname(), Port(req.URL), false)
	}
}

// Port is the port of an address, 0 where neither it nor its scheme says one.
func Port(u *url.URL) uint16 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	switch u.Scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}

// Ports are the TCP ports of all that may be reached; all: whichever, and none
// of them is listed.
func (r *Rules) Ports() (ports []uint16, all bool) {
	if r == nil {
		return nil, true
	}
	for _, rule := range r.hosts {
		if rule.port == 0 {
			return nil, true
		}
		ports = append(ports, rule.port)
	}
	slices.Sort(ports)
	return slices.Compact(ports), false
}
