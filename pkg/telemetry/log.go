// Package telemetry is how Drayage is seen from outside: its log and the
// endpoints of a service. Package metrics is what it counts.
package telemetry

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// LogConfig says what is logged and how.
type LogConfig struct {
	Level  string `envconfig:"DRAY_LOG_LEVEL" desc:"trace, debug, info, warn, error; default: info for services, warn for other verbs"`
	Format string `envconfig:"DRAY_LOG_FORMAT" default:"auto" desc:"json, console, or auto: console on a terminal"`
}

// NewLogger makes a logger that writes to w. Fallback is the level where the
// configuration names none. Times are UTC with milliseconds.
func NewLogger(cfg LogConfig, fallback zerolog.Level, w io.Writer) (zerolog.Logger, error) {
	level := fallback
	if cfg.Level != "" {
		l, err := zerolog.ParseLevel(cfg.Level)
		if err != nil {
			return zerolog.Nop(), fmt.Errorf("DRAY_LOG_LEVEL is %q; write trace, debug, info, warn or error", cfg.Level)
		}
		level = l
	}
	console := false
	switch cfg.Format {
	case "json":
	case "console":
		console = true
	case "auto", "":
		if f, ok := w.(*os.File); ok {
			console = term.IsTerminal(int(f.Fd()))
		}
	default:
		return zerolog.Nop(), fmt.Errorf("DRAY_LOG_FORMAT is %q; write json, console or auto", cfg.Format)
	}
	if console {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != ""}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}
