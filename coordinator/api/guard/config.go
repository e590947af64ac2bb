package guard

import (
	"fmt"
	"time"
)

// Config is what can be configured of an HTTP server beside its address.
type Config struct {
	Tokens      string        `envconfig:"DRAY_HTTP_TOKENS" desc:"tokens of the HTTP API, role:name:token each, separated by spaces or commas; better in a file"`
	TokensFile  string        `envconfig:"DRAY_HTTP_TOKENS_FILE" desc:"the same, a line each; read again when it changes"`
	Insecure    bool          `envconfig:"DRAY_HTTP_INSECURE" default:"false" desc:"listen on an address that others reach without any token: whoever reaches it may do everything"`
	Cert        string        `envconfig:"DRAY_HTTP_CERT" desc:"certificate of the HTTP server, PEM; read again when it changes"`
	Key         string        `envconfig:"DRAY_HTTP_KEY" desc:"its key, PEM"`
	Hosts       []string      `envconfig:"DRAY_HTTP_HOSTS" desc:"names of the server that requests may be for; default: those of loopback where no token is needed, else any"`
	Origins     []string      `envconfig:"DRAY_HTTP_ORIGINS" desc:"origins, such as https://dray.example.com, whose pages may ask for changes beside the server's own"`
	Session     time.Duration `envconfig:"DRAY_HTTP_SESSION" default:"12h" desc:"how long a login of the page is good for"`
	SessionFile string        `envconfig:"DRAY_HTTP_SESSION_KEY_FILE" desc:"key that logins are signed with, 32 bytes or more; one for several coordinators. Default: a new one at each start"`
	Rate        float64       `envconfig:"DRAY_HTTP_RATE" default:"100" desc:"requests a second of one client, or of one token"`
	Streams     int           `envconfig:"DRAY_HTTP_STREAMS" default:"256" desc:"streams of events and waits for a job's end at once"`
	Pprof       bool          `envconfig:"DRAY_HTTP_PPROF" default:"false" desc:"profiles of the process under /debug/pprof/, for the role admin"`
}

// SettingError is a setting that can not work, or would let strangers in.
type SettingError struct {
	Name string // of the variable
	err  error
}

func (e *SettingError) Error() string { return e.Name + ": " + e.err.Error() }
func (e *SettingError) Unwrap() error { return e.err }

func settingError(name, format string, args ...any) error {
	return &SettingError{name, fmt.Errorf(format, args...)}
}

// Validate reports the first value that can not work, alone or with another. The
// error is a *SettingError.
func (c Config) Validate() error {
	switch {
	case (c.Cert == "") != (c.Key == ""):
		return settingError("DRAY_HTTP_CERT", "it and DRAY_HTTP_KEY come together")
	case c.Session < time.Minute || c.Session > 30*24*time.Hour:
		return settingError("DRAY_HTTP_SESSION", "it is %s; it must be 1m to 720h", c.Session)
	case c.Rate < 1 || c.Rate > 1e6:
		return settingError("DRAY_HTTP_RATE", "it is %g; it must be 1 to 1000000", c.Rate)
	case c.Streams < 1 || c.Streams > 100_000:
		return settingError("DRAY_HTTP_STREAMS", "it is %d; it must be 1 to 100000", c.Streams)
	case c.Insecure && (c.Tokens != "" || c.TokensFile != ""):
		return settingError("DRAY_HTTP_INSECURE", "there are tokens; leave it out, or leave the tokens out")
	}
	return nil
}

// exposed refuses an address that others reach when nothing would ask who they
// are.
func (c Config) exposed(addr string, tokens bool) error {
	if loopback(addr) || tokens || c.Insecure {
		return nil
	}
	return settingError("DRAY_HTTP_ADDR", "%s is reached from other machines, and without tokens everybody there could steer the fleet\n"+
		"  hint: put tokens into a file and name it in DRAY_HTTP_TOKENS_FILE, a line each such as operate:ci:$(openssl rand -hex 24);\n"+
		"  or listen on 127.0.0.1:8390; or, where nobody else reaches it, set DRAY_HTTP_INSECURE=true", addr)
}
