package web

import (
	"strconv"

	"drayage/coordinator/api"
)

// cells are the states of a job's chunks as the page has drawn them.
type cells struct {
	width, planned uint64
	letters        string
}

func cellsOf(m api.ChunkMap) cells { return cells{m.Width, m.Planned, m.Cells} }

// cellsUpdate says how to make one map of another.
type cellsUpdate struct {
	Width   uint64    `json:"width"`   // chunks that a cell stands for
	Planned uint64    `json:"planned"` // chunks; those that follow them replace others
	Whole   bool      `json:"whole,omitempty"`
	Runs    []cellRun `json:"runs,omitempty"` // the cells that differ; of a whole map all
}

// cellRun is a number of cells that follow each other from At on. Cells has each
// state's letter, and after it how many cells have it unless it is one:
// "l120wq" is 120 loaded, one at work, one queued. So it is never longer than
// the cells are many.
type cellRun struct {
	At    int    `json:"at"`
	Cells string `json:"cells"`
}

// since is what differs from before, false when nothing does.
func (c cells) since(before cells) (cellsUpdate, bool) {
	u := cellsUpdate{Width: c.width, Planned: c.planned}
	if c.width != before.width || len(c.letters) < len(before.letters) {
		before.letters, u.Whole = "", true
	}
	u.Runs = differing(before.letters, c.letters)
	return u, c.planned != before.planned || u.Whole || len(u.Runs) > 0
}

// whole is the map for a page that has none.
func (c cells) whole() cellsUpdate {
	u, _ := c.since(cells{})
	u.Whole = true
	return u
}

// runGap is how many equal cells may lie between two that differ for them to
// be in one run: another run costs more than that.
const runGap = 16

func differing(before, now string) []cellRun {
	var runs []cellRun
	for i := 0; i < len(now); i++ {
		if i < len(before) && before[i] == now[i] {
			continue
		}
		end := i + 1
		for j := end; j < len(now) && j-end <= runGap; j++ {
			if j >= len(before) || before[j] != now[j] {
				end = j + 1
			}
		}
		runs = append(runs, cellRun{At: i, Cells: pack(now[i:end])})
		i = end
	}
	return runs
}

// pack writes equal cells that follow each other as one letter and their number.
func pack(letters string) string {
	out := make([]byte, 0, 64)
	for i := 0; i < len(letters); {
		n := 1
		for i+n < len(letters) && letters[i+n] == letters[i] {
			n++
		}
		out = append(out, letters[i])
		if n > 1 {
			out = strconv.AppendInt(out, int64(n), 10)
		}
		i += n
	}
	return string(out)
}
