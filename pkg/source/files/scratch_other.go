//go:build !linux

package files

import (
	"fmt"
	"os"
)

// scratch makes an empty file for about size bytes. It keeps its name, by which
// the engine opens it, until the system cleans its directory.
func scratch(name string, _ int64) (*os.File, error) {
	f, err := os.CreateTemp("", "dray-"+name+"-*")
	if err != nil {
		return nil, fmt.Errorf("making a scratch file: %w", err)
	}
	return f, nil
}
