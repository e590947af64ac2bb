package clickhouse

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/go-faster/city"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// packet writes packets of data: their head as it is, and the block in them
// compressed.
type packet struct {
	out    *bufio.Writer
	block  []byte                                // of what is not compressed yet
	frame  []byte                                // what is compressed, used again
	shrink func(dst, src []byte) ([]byte, error) // adds src, compressed, to dst; nil: nothing is compressed
	method byte
}

// frameSize is how much of a block is compressed at once, in bytes: what a
// server does too.
const frameSize = 1 << 20

// A frame begins with a checksum, then come the method and two sizes, of itself
// without the checksum and of what is compressed, and then that.
const (
	frameSum  = 16
	frameHead = frameSum + 9

	methodLZ4  = 0x82
	methodZSTD = 0x90
)

// newPacket writes to a connection, through a buffer.
func newPacket(to io.Writer, compression string, buffer int) (*packet, error) {
	p := &packet{out: bufio.NewWriterSize(to, buffer)}
	switch compression {
	case CompressionNone:
	case CompressionLZ4:
		var z lz4.Compressor
		p.method, p.shrink = methodLZ4, func(dst, src []byte) ([]byte, error) {
			at, bound := len(dst), lz4.CompressBlockBound(len(src))
			for cap(dst)-at < bound {
				dst = append(dst[:cap(dst)], 0)
			}
			n, err := z.CompressBlock(src, dst[at:at+bound])
			return dst[:at+n], err
		}
	case CompressionZSTD:
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("compressing: %w", err)
		}
		p.method, p.shrink = methodZSTD, func(dst, src []byte) ([]byte, error) { return z.EncodeAll(src, dst), nil }
	default:
		return nil, fmt.Errorf("compression %q", compression)
	}
	return p, nil
}

// begin begins a packet with a block: its kind, the name of the external table
// that it is, "" for none, and the block info.
func (p *packet) begin(table string) {
	var b proto.Buffer
	proto.ClientCodeData.Encode(&b)
	proto.ClientData{TableName: table}.EncodeAware(&b, revision)
	_, _ = p.out.Write(b.Buf) // an error comes again
	b.Reset()
	proto.BlockInfo{BucketNum: -1}.Encode(&b)
	_, _ = p.Write(b.Buf) // likewise
}

// Write adds to the block.
func (p *packet) Write(data []byte) (int, error) {
	if p.shrink == nil {
		return p.out.Write(data)
	}
	for rest := data; len(rest) > 0; {
		n := min(len(rest), frameSize-len(p.block))
		p.block = append(p.block, rest[:n]...)
		rest = rest[n:]
		if len(p.block) == frameSize {
			if err := p.squeeze(); err != nil {
				return 0, err
			}
		}
	}
	return len(data), nil
}

// squeeze sends what there is as a frame.
func (p *packet) squeeze() error {
	if len(p.block) == 0 {
		return nil
	}
	var err error
	if p.frame, err = p.shrink(append(p.frame[:0], make([]byte, frameHead)...), p.block); err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	p.frame[frameSum] = p.method
	binary.LittleEndian.PutUint32(p.frame[frameSum+1:], uint32(len(p.frame)-frameSum)) //nolint:gosec // about frameSize
	binary.LittleEndian.PutUint32(p.frame[frameSum+5:], uint32(len(p.block)))          //nolint:gosec // at most frameSize
	sum := city.CH128(p.frame[frameSum:])
	binary.LittleEndian.PutUint64(p.frame, sum.Low)
	binary.LittleEndian.PutUint64(p.frame[8:], sum.High)
	p.block = p.block[:0]
	_, err = p.out.Write(p.frame)
	return err
}

// flush ends the packet and sends it.
func (p *packet) flush() error {
	if p.shrink != nil {
		if err := p.squeeze(); err != nil {
			return err
		}
	}
	return p.out.Flush()
}

// end sends the packet that says that no more come: a block of nothing.
func (p *packet) end() error {
	p.begin("")
	if _, err := p.Write([]byte{0, 0}); err != nil {
		return err
	}
	return p.flush()
}
