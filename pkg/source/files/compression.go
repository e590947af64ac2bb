package files

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// compression is a way in which files are compressed.
type compression struct {
	name  string // as the engine's file() takes it
	exts  []string
	alias []string
	magic []string // what such a file begins with, where it can be told
	// engine is true when the engine reads it by itself.
	engine bool
	// open decompresses in Go; nil where no library here can.
	open func(io.Reader) (io.ReadCloser, error)
}

const none = "none"

// snappyFraming is the beginning of Snappy's framing format. The engine reads
// Hadoop's Snappy only, which has no mark of its own.
const snappyFraming = "\xff\x06\x00\x00sNaPpY"

var compressions = []compression{
	{name: none, engine: true, open: func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil }},
	{name: "gzip", exts: []string{".gz"}, alias: []string{"gz"}, magic: []string{"\x1f\x8b"}, engine: true,
		open: func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }},
	{name: "zstd", exts: []string{".zst", ".zstd"}, alias: []string{"zst"}, magic: []string{"\x28\xb5\x2f\xfd"}, engine: true,
		open: func(r io.Reader) (io.ReadCloser, error) {
			d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return nil, err
			}
			return d.IOReadCloser(), nil
		}},
	{name: "bz2", exts: []string{".bz2"}, alias: []string{"bzip2"}, magic: []string{"BZh"},
		open: func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(bzip2.NewReader(r)), nil }},
	{name: "xz", exts: []string{".xz"}, magic: []string{"\xfd7zXZ\x00"}, engine: true},
	{name: "lz4", exts: []string{".lz4"}, magic: []string{"\x04\x22\x4d\x18"}, engine: true,
		open: func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(lz4.NewReader(r)), nil }},
	{name: "br", exts: []string{".br"}, alias: []string{"brotli"}, engine: true,
		open: func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(brotli.NewReader(r)), nil }},
	{name: "snappy", exts: []string{".snappy", ".sz"}, engine: true},
	{name: "snappy-framed", magic: []string{snappyFraming},
		open: func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(s2.NewReader(r)), nil }},
	{name: "deflate", exts: []string{".deflate", ".zz"}, alias: []string{"zlib"}, engine: true, open: zlib.NewReader},
}

// maxWindow is the largest zstd window that is accepted, what zstd --long=31
// makes.
const maxWindow = 2 << 30

// archives are extensions of what is not one compressed file but many.
var archives = []string{".zip", ".tar", ".tgz", ".7z", ".rar", ".lzma", ".z"}

func compressionNamed(name string) (compression, bool) {
	name = strings.ToLower(name)
	for _, c := range compressions {
		if c.name == name || slices.Contains(c.alias, name) {
			return c, true
		}
	}
	return compressions[0], false
}

func compressionNames() []string {
	var names []string
	for _, c := range compressions {
		names = append(names, c.name)
	}
	return names
}

// compressionOfExtension returns none, false for any other extension.
func compressionOfExtension(ext string) (compression, bool) {
	for _, c := range compressions {
		if slices.Contains(c.exts, ext) {
			return c, true
		}
	}
	return compressions[0], false
}

// settle checks the compression that was named or read off the extension
// against how the file begins.
func (c compression) settle(f format, begin []byte) (compression, error) {
	if c.name == "snappy" && bytes.HasPrefix(begin, []byte(snappyFraming)) {
		c, _ = compressionNamed("snappy-framed")
		return c, nil
	}
	if len(c.magic) > 0 && !slices.ContainsFunc(c.magic, func(m string) bool { return bytes.HasPrefix(begin, []byte(m)) }) {
		// zstd allows skippable frames before the first one with data.
		if !(c.name == "zstd" && len(begin) > 3 && begin[0]&0xf0 == 0x50 && string(begin[1:4]) == "\x2a\x4d\x18") {
			return c, fmt.Errorf("it is not compressed with %s, as its name or the setting compression says", c.name)
		}
	}
	if c.name == none && f.family != whole && f.family != parquet {
		for _, other := range compressions {
			for _, m := range other.magic {
				// "BZh" alone may begin a text.
				if bytes.HasPrefix(begin, []byte(m)) && (m != "BZh" || bytes.Contains(begin, []byte("1AY&SY"))) {
					return c, fmt.Errorf("it is compressed with %s; write compression: %s, or give it that extension", other.name, other.name)
				}
			}
		}
	}
	if c.name == none && f.magic != "" && !bytes.HasPrefix(begin, []byte(f.magic)) {
		return c, fmt.Errorf("it is not a file of the format %s, which begins with %q", f.asked, f.magic)
	}
	return c, nil
}
