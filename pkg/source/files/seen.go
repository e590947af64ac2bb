package files

import (
	"encoding/json"
	"strconv"

	"drayage/pkg/source"
)

var _ source.Versioned = (*Source)(nil)

// Version implements source.Versioned.
func (s *Source) Version(input json.RawMessage) (string, error) {
	p, err := parsePiece(input)
	if err != nil || p.Err != "" {
		return "", err
	}
	return versionName(p.Path, p.version), nil
}

// versionName is the name of a file with its version: the path, the size and
// the time of change, or what the store calls the version.
func versionName(path string, v version) string {
	if v.Tag != "" {
		return path + "\x00" + v.Tag
	}
	return path + "\x00" + strconv.FormatInt(v.Size, 10) + " " + strconv.FormatInt(v.MTime, 10)
}
