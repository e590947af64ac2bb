package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal reports whether w is a terminal.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// defaultWidth is that of a line where there is no terminal, in characters.
const defaultWidth = 200

// width is how many characters a line of standard output has.
func (a *app) width() int {
	if f, ok := a.Out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return defaultWidth
}

// oneLine makes s fit for a table: one line of at most most characters, without
// anything that a terminal would obey.
func oneLine(s string, most int) string {
	var b strings.Builder
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		shown := s[i : i+size]
		if r == utf8.RuneError && size == 1 || r != ' ' && !unicode.IsGraphic(r) {
			quoted := strconv.Quote(shown)
			shown = quoted[1 : len(quoted)-1]
		}
		if n += utf8.RuneCountInString(shown); n > most && most > 0 {
			return cutTo(b.String(), most-1) + "…"
		}
		b.WriteString(shown)
		i += size
	}
	return b.String()
}

// cutTo returns the first most characters of s.
func cutTo(s string, most int) string {
	for i := range s {
		if most <= 0 {
			return s[:i]
		}
		most--
	}
	return s
}

// errUnanswered is the end of a verb that was not allowed to go on.
var errUnanswered = errors.New("nothing was changed")

// confirm asks whether to go on. Where nobody can be asked, yes must have been
// said by --yes.
func (a *app) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if !terminal(a.In) {
		return usagef("%s\n  hint: there is no terminal to ask at; --yes says yes", question)
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // a read of a terminal can not be cancelled
		line, _ := bufio.NewReader(a.In).ReadString('\n') // its end is a no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case s := <-answer:
		if s == "y" || s == "yes" {
			return nil
		}
		return errUnanswered
	case <-ctx.Done():
		fmt.Fprintln(a.Err)
		return errors.Join(errUnanswered, context.Cause(ctx))
	}
}
