package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrTooBig means that a chunk's rows exceed the limit of a block in bytes.
var ErrTooBig = errors.New("the chunk's rows do not fit one block")

// block is a chunk's rows as the engine gave them: Native bytes. Its buffer is
// used again for the next chunk of the same slot.
type block struct {
	buf   []byte
	limit int64 // bytes
}

// minRead is the room made before each read.
const minRead = 1 << 20

// readFrom fills the block from the engine's pipe until its end.
func (b *block) readFrom(pipe *os.File, progress func()) error {
	b.buf = b.buf[:0]
	for {
		if cap(b.buf)-len(b.buf) < minRead {
			grown := make([]byte, len(b.buf), max(2*cap(b.buf), 8*minRead))
			copy(grown, b.buf)
			b.buf = grown
		}
		n, err := pipe.Read(b.buf[len(b.buf):cap(b.buf)])
		b.buf = b.buf[:len(b.buf)+n]
		if int64(len(b.buf)) > b.limit {
			return fmt.Errorf("%w: more than %d bytes", ErrTooBig, b.limit)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the engine's rows: %w", err)
		}
		progress()
	}
}

// rows is the number of rows in the first Native block, 0 when there is none.
// Native: two varints, columns and rows, begin each block.
func (b *block) rows() (uint64, error) {
	if len(b.buf) == 0 {
		return 0, nil
	}
	_, n := binary.Uvarint(b.buf)
	if n <= 0 {
		return 0, errors.New("the engine's block has no header")
	}
	rows, m := binary.Uvarint(b.buf[n:])
	if m <= 0 {
		return 0, errors.New("the engine's block has no header")
	}
	return rows, nil
}
