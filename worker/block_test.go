package worker

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"drayage/pkg/job"
)

// A block gives back what was written into it, whatever its size and whatever
// the slot held before.
func TestBlock(t *testing.T) {
	all := &blocks{limit: 3*segment + 10}
	var b *block
	fill := func(data []byte) error {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		go func() {
			_, _ = w.Write(data) // a block that is too big is not read to its end
			w.Close()
		}()
		all.reset(1)
		b = all.list[0]
		return b.readFrom(r, func() {})
	}
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{3 * segment, 0, 1, segment - 1, segment, segment + 1, 2*segment + 77, 5} {
		data := make([]byte, size)
		_, _ = random.Read(data)
		if size > 1 {
			data[0], data[1] = 8, 100 // 8 columns, 100 rows
		}
		if err := fill(data); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b.reader(until{time.Now().Add(time.Minute)}))
		if err != nil || !bytes.Equal(got, data) || b.size != int64(size) {
			t.Fatalf("%d bytes came back as %d: %v", size, len(got), err)
		}
		if want := strconv.FormatUint(xxhash.Sum64(data), 16); b.hash() != want {
			t.Errorf("hash of %d bytes is %s, want %s", size, b.hash(), want)
		}
		if rows, err := b.rows(); size > 1 && (rows != 100 || err != nil) || size == 0 && (rows != 0 || err != nil) {
			t.Errorf("%d bytes have %d rows: %v", size, rows, err)
		}
	}
	if got, err := io.ReadAll(b.reader(until{time.Now().Add(-time.Second)})); len(got) > 0 || !errors.Is(err, job.ErrLeaseLost) {
		t.Errorf("%d bytes were read after the end of the lease: %v", len(got), err)
	}
	if err := fill(make([]byte, all.limit+1)); !errors.Is(err, ErrTooBig) {
		t.Errorf("a block beyond the limit: %v", err)
	}
}

// until is a holder whose lease ends at a time.
type until struct{ end time.Time }

func (until) Progress()             {}
func (u until) Deadline() time.Time { return u.end }
