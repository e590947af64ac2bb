package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// libraryVersion is the version of the npm package that lib/ pins, and the
// name of its folder in the cache.
const libraryVersion = "26.7.3-stable.1"

// ErrNoLibrary is the error when libchdb is nowhere to be found.
var ErrNoLibrary = errors.New("libchdb, the ClickHouse engine, is not installed: run `make engine`, or set DRAY_LIBCHDB to the path of libchdb.so")

// libraryName is the file name of the library on this system.
func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libchdb.dylib"
	}
	return "libchdb.so"
}

// FindLibrary returns the path of libchdb. It looks at given, DRAY_LIBCHDB, the
// cache that `make engine` fills, beside the executable, /usr/lib and
// /usr/local/lib. A path that was asked for by given or DRAY_LIBCHDB and does
// not exist is an error, not a reason to look further. The error is
// ErrNoLibrary.
func FindLibrary(given string) (string, error) {
	if given == "" {
		given = os.Getenv("DRAY_LIBCHDB")
	}
	if given != "" {
		if !isFile(given) {
			return "", fmt.Errorf("%w (%s does not exist)", ErrNoLibrary, given)
		}
		return given, nil
	}
	name := libraryName()
	var places []string
	if cache := cacheDir(); cache != "" {
		// The npm packages call the file libchdb.so on every system.
		places = append(places, filepath.Join(cache, "libchdb.so"))
	}
	if exe, err := os.Executable(); err == nil {
		places = append(places, filepath.Join(filepath.Dir(exe), name), filepath.Join(filepath.Dir(exe), "..", "lib", name))
	}
	places = append(places, filepath.Join("/usr/lib", name), filepath.Join("/usr/local/lib", name))
	for _, place := range places {
		if isFile(place) {
			return place, nil
		}
	}
	return "", ErrNoLibrary
}

// cacheDir is where lib/install.sh puts the library.
func cacheDir() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "drayage", "engine", libraryVersion)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
