package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"

	"drayage/pkg/job"
)

// The colours are the terminal's own sixteen, so that they suit its background.
//
//nolint:gochecknoglobals // constants
var (
	good  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	wary  = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	bad   = lipgloss.NewStyle().Foreground(lipgloss.Red)
	alive = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
	faint = lipgloss.NewStyle().Faint(true)
	title = lipgloss.NewStyle().Bold(true)
)

// profile is what w can show: colours on a terminal that has them, and nothing
// elsewhere. NO_COLOR with any value turns them off.
func profile(w io.Writer) colorprofile.Profile {
	found := colorprofile.Detect(w, os.Environ())
	if os.Getenv("NO_COLOR") != "" {
		return min(found, colorprofile.ASCII)
	}
	return found
}

// plain passes on to w what it can show.
func plain(w io.Writer) io.Writer { return &colorprofile.Writer{Forward: w, Profile: profile(w)} }

// paint styles s as far as w can show it.
func paint(w io.Writer, style lipgloss.Style, s string) string {
	var b strings.Builder
	_, _ = (&colorprofile.Writer{Forward: &b, Profile: profile(w)}).WriteString(style.Render(s)) // a Builder takes all
	return b.String()
}

// stateStyle is how a job's state is shown everywhere.
func stateStyle(s job.State) lipgloss.Style {
	switch s {
	case job.Done:
		return good
	case job.DoneWithRejects, job.Paused, job.Cancelling:
		return wary
	case job.Failed:
		return bad
	case job.Cancelled:
		return faint
	}
	return alive
}

// meter draws a fraction as a bar of width cells; nil: it is not known.
func meter(fraction *float64, width int) string {
	if fraction == nil {
		return faint.Render(strings.Repeat("·", width))
	}
	full := int(*fraction * float64(width))
	full = min(max(full, 0), width)
	return good.Render(strings.Repeat("█", full)) + faint.Render(strings.Repeat("░", width-full))
}

// table lays cells, styled or not, out in columns with two blanks between. The
// last column is not padded.
type table struct {
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// head adds the names of the columns.
func (t *table) head(names ...string) {
	for i := range names {
		names[i] = faint.Render(names[i])
	}
	t.add(names...)
}

// row adds a name and what there is to say, which may have several lines.
func (t *table) row(name, format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		t.add(faint.Render(name), line)
		name = ""
	}
}

// write writes the table as far as w can show it.
func (t *table) write(w io.Writer) error {
	_, err := io.WriteString(plain(w), t.String())
	return err
}

func (t *table) String() string {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-lipgloss.Width(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
