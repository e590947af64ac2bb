// Package version says which build this is.
package version

import "runtime/debug"

// Version is the version of the build: set by the linker (-X) for releases,
// otherwise "dev".
var Version = "dev"

// Commit returns the source revision that the build was made from, as the Go
// toolchain recorded it, or "unknown".
func Commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
