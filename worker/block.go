package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"drayage/pkg/job"
)

// ErrTooBig means that a chunk's rows exceed the limit of a block in bytes.
var ErrTooBig = errors.New("the chunk's rows do not fit one block")

// segment is the size of the pieces a block is held in, in bytes. Pieces are
// never moved: one growing buffer cost a third of the worker's own CPU.
const segment = 4 << 20

// block is a chunk's rows as the engine gave them: Native bytes. Its memory is
// used again for the next chunk of the same slot.
type block struct {
	segments [][]byte
	size     int64
	limit    int64 // bytes
}

// readFrom fills the block from the engine's pipe until its end.
func (b *block) readFrom(pipe *os.File, progress func()) error {
	b.size = 0
	for {
		at := int(b.size / segment)
		if at == len(b.segments) {
			b.segments = append(b.segments, make([]byte, segment))
		}
		n, err := pipe.Read(b.segments[at][b.size%segment:])
		b.size += int64(n)
		if b.size > b.limit {
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

// pieces yields the block's bytes in order.
func (b *block) pieces(yield func([]byte) bool) {
	for i, left := 0, b.size; left > 0; i, left = i+1, left-segment {
		if !yield(b.segments[i][:min(left, segment)]) {
			return
		}
	}
}

// rows is the number of rows in the first Native block, 0 when there is none.
// Native: two varints, columns and rows, begin each block.
func (b *block) rows() (uint64, error) {
	if b.size == 0 {
		return 0, nil
	}
	head := b.segments[0][:min(b.size, 2*binary.MaxVarintLen64)]
	_, n := binary.Uvarint(head)
	if n <= 0 {
		return 0, errors.New("the engine's block has no header")
	}
	rows, m := binary.Uvarint(head[n:])
	if m <= 0 {
		return 0, errors.New("the engine's block has no header")
	}
	return rows, nil
}

// hash is the xxhash64 of the bytes, in hexadecimal.
func (b *block) hash() string {
	h := xxhash.New()
	for piece := range b.pieces {
		_, _ = h.Write(piece) // it can not fail
	}
	return strconv.FormatUint(h.Sum64(), 16)
}

// holder is who may send the block, for as long as it does.
type holder interface {
	Progress()
	Deadline() time.Time
}

// reader reads the block once and reports that it is being read: a load that
// moves keeps its lease. When the lease is over it reads no further, so that a
// worker which was stopped in the middle of a load and goes on later does not
// complete it.
func (b *block) reader(h holder) io.Reader { return &blockReader{block: b, holder: h} }

type blockReader struct {
	block  *block
	at     int64
	holder holder
}

func (r *blockReader) Read(p []byte) (int, error) {
	left := r.block.size - r.at
	if left == 0 {
		return 0, io.EOF
	}
	if time.Now().After(r.holder.Deadline()) {
		return 0, job.ErrLeaseLost
	}
	within := r.at % segment
	piece := r.block.segments[r.at/segment]
	n := copy(p, piece[within:min(segment, within+left)])
	r.at += int64(n)
	r.holder.Progress()
	return n, nil
}
