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

// blocks are the rows of a chunk for each of its outputs. Their memory is used
// again for the next chunk of the same slot.
type blocks struct {
	list  []*block
	limit int64 // bytes of all of them
	held  int64
	free  [][]byte
}

// reset empties the blocks and makes them n.
func (all *blocks) reset(n int) {
	for _, b := range all.list {
		all.free = append(all.free, b.segments...)
	}
	all.held, all.list = 0, make([]*block, n)
	for i := range all.list {
		all.list[i] = &block{all: all}
	}
}

func (all *blocks) segment() []byte {
	if n := len(all.free); n > 0 {
		taken := all.free[n-1]
		all.free = all.free[:n-1]
		return taken
	}
	return make([]byte, segment)
}

// block is what the engine gave for one output: Native bytes.
type block struct {
	all      *blocks
	segments [][]byte
	size     int64
}

// readFrom fills an empty block from the engine's pipe until its end.
func (b *block) readFrom(pipe *os.File, progress func()) error {
	for {
		at := int(b.size / segment)
		if at == len(b.segments) {
			b.segments = append(b.segments, b.all.segment())
		}
		n, err := pipe.Read(b.segments[at][b.size%segment:])
		b.size += int64(n)
		b.all.held += int64(n)
		if b.all.held > b.all.limit {
			return fmt.Errorf("%w: more than %d bytes", ErrTooBig, b.all.limit)
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
