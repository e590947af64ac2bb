package engine

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// A pipe that is closed because the client died looks to the engine like a
// pipe that ended well, and the engine would commit what it has. So the bytes
// go to the engine in an LZ4 frame of stored blocks: nothing is compressed, but
// a frame has an end of its own, and a block that says it is impossibly large
// makes the engine fail, whatever the format. The cost is one copy.

// frameBlock is how many bytes go to the engine at once. A quarter of the pipe:
// measured with blocks of 64 KiB to 1 MiB, this costs the least CPU, as a block
// is still in the cache when it is copied on.
const frameBlock = 256 << 10

// frameHead is the magic number, "independent blocks, no checksums", "blocks of
// at most 4 MiB", and the checksum of these two bytes.
var frameHead = [...]byte{0x04, 0x22, 0x4D, 0x18, 0x60, 0x70, 0x73}

// errEngineGone is no error of its own: why the engine stopped is what the
// statement says.
var errEngineGone = errors.New("the engine stopped reading")

// feed copies src to the pipe as one frame. When src fails, the frame is spoilt
// so that the engine fails too. It returns the reader's error, or
// errEngineGone when the engine closed its end first.
func feed(pipe *os.File, src io.Reader) (int64, error) {
	buf := make([]byte, 4+frameBlock)
	if _, err := pipe.Write(frameHead[:]); err != nil {
		return 0, errEngineGone
	}
	var total int64
	for {
		n, err := readSome(src, buf[4:])
		if n > 0 {
			binary.LittleEndian.PutUint32(buf, uint32(n)|1<<31)
			if _, werr := pipe.Write(buf[:4+n]); werr != nil {
				return total, errEngineGone
			}
			total += int64(n)
		}
		if errors.Is(err, io.EOF) {
			clear(buf[:4])
			if _, werr := pipe.Write(buf[:4]); werr != nil {
				return total, errEngineGone
			}
			return total, nil
		}
		if err != nil {
			binary.LittleEndian.PutUint32(buf, 1<<31-1)
			_, _ = pipe.Write(buf[:4]) // no matter: the statement is killed as well
			return total, err
		}
	}
}

// readSome fills p as far as src gives without an end, so that blocks are large.
func readSome(src io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = src.Read(p[n:])
		n += k
	}
	return n, err
}
