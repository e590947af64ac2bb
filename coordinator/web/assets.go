package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

// The page's own scripts and style, and the libraries that install.sh keeps.
//
//go:embed assets/*.css assets/*.js assets/*.svg assets/library
var assetFiles embed.FS

// assets serves files that are part of the binary. Their address has a digest
// of them all in it, so that a browser may keep them for ever and a new version
// is never shown with the scripts of an old one.
type assets struct {
	files  fs.FS
	prefix string // of their addresses, with the digest
}

func newAssets() (assets, error) {
	files, err := fs.Sub(assetFiles, "assets")
	if err != nil {
		return assets{}, fmt.Errorf("opening the page's files: %w", err)
	}
	digest := sha256.New()
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(digest, "%s %d\n", name, len(data))
		digest.Write(data)
		return nil
	})
	if err != nil {
		return assets{}, fmt.Errorf("reading the page's files: %w", err)
	}
	return assets{files, "/assets/" + hex.EncodeToString(digest.Sum(nil)[:8]) + "/"}, nil
}

// url is the address of a file.
func (a assets) url(name string) string { return a.prefix + name }

// ServeHTTP answers a GET of an asset; what is not one is not found.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ours := strings.CutPrefix(r.URL.Path, a.prefix)
	data, err := fs.ReadFile(a.files, name)
	if !ours || err != nil {
		http.NotFound(w, r)
		return
	}
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // what a machine's own table may not know
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".css":
		kind = "text/css; charset=utf-8"
	case "":
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(data) // whoever asked has gone
}
