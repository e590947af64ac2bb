package queue_test

import (
	"encoding/json"
	"slices"
	"testing"

	"drayage/pkg/queue"
)

func TestWatermarks(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		_, _, err := b.q.Watermark(ctx(t), "p")
		want(t, err, queue.ErrNotFound)
		first := queue.Watermark{Pipeline: "p", Job: "p-1", State: json.RawMessage(`{"to":"7"}`)}
		rev, err := b.q.PutWatermark(ctx(t), first, 0)
		if err != nil {
			t.Fatal(err)
		}
		// One of two claims wins.
		_, err = b.q.PutWatermark(ctx(t), queue.Watermark{Pipeline: "p", Job: "p-2"}, 0)
		want(t, err, queue.ErrExists)
		first.Seen = []queue.SeenPart{{Name: "p-1-0", Count: 3}}
		if _, err = b.q.PutWatermark(ctx(t), first, rev); err != nil {
			t.Fatal(err)
		}
		_, err = b.q.PutWatermark(ctx(t), queue.Watermark{Pipeline: "p", Job: "p-3"}, rev)
		want(t, err, queue.ErrConflict)
		for range 2 { // again under the same name
			if err := b.q.PutSeen(ctx(t), "p", "p-1-0", []uint64{1, 1 << 63, 3}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := b.q.Seen(ctx(t), "p", "p-1-0"); err != nil || !slices.Equal(got, []uint64{1, 1 << 63, 3}) {
			t.Errorf("%v, %v", got, err)
		}
		want(t, b.q.PutSeen(ctx(t), "p", "x", make([]uint64, queue.SeenPartMax+1)), queue.ErrTooLarge)
		if err := b.q.PutSeen(ctx(t), "p", "x", make([]uint64, queue.SeenPartMax)); err != nil {
			t.Error(err)
		}
		if _, err := b.q.PutWatermark(ctx(t), queue.Watermark{Pipeline: "another"}, 0); err != nil {
			t.Fatal(err)
		}
		all, err := b.q.Watermarks(ctx(t))
		if err != nil || len(all) != 2 || all[0].Pipeline != "another" || all[1].Job != "p-1" || string(all[1].State) != `{"to":"7"}` {
			t.Errorf("%+v, %v", all, err)
		}
		for range 2 {
			if err := b.q.ForgetWatermark(ctx(t), "p"); err != nil {
				t.Fatal(err)
			}
		}
		_, err = b.q.Seen(ctx(t), "p", "p-1-0")
		want(t, err, queue.ErrNotFound)
		if all, err := b.q.Watermarks(ctx(t)); err != nil || len(all) != 1 {
			t.Errorf("%+v, %v", all, err)
		}
		if _, err := b.q.PutWatermark(ctx(t), first, 0); err != nil {
			t.Error(err)
		}
	})
}
