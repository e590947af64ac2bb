package engine

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
)

// A confined engine can not look into its parent's /proc, where FilePath points.
// So the client hands it, over a socket, a copy of each open file that a
// statement names, for the time of the statement, and writes the path of the
// copy in its place.

// envLend is the child's end of the socket, by number.
const envLend = "DRAY_ENGINE_FD_LEND"

// lending gives a copy of an open file to the engine. The path is the engine's;
// end takes the copy back.
type lending func(f uintptr) (path string, end func(), err error)

// ownFile is what FilePath makes in this process.
var ownFile = regexp.MustCompile(fmt.Sprintf(`/proc/%d/fd/([0-9]+)\b`, os.Getpid()))

// lend hands over the files that sql names and returns it with their new paths.
// The function takes them back.
func (c *Client) lend(sql string) (_ string, end func(), err error) {
	end = func() {}
	if c.lending == nil || !ownFile.MatchString(sql) {
		return sql, end, nil
	}
	paths := map[string]string{}
	sql = ownFile.ReplaceAllStringFunc(sql, func(path string) string {
		if lent, known := paths[path]; known || err != nil {
			return lent
		}
		var fd uint64
		if fd, err = strconv.ParseUint(ownFile.FindStringSubmatch(path)[1], 10, 31); err != nil || !regular(uintptr(fd)) {
			return path // whoever wrote that, it is no input of a statement
		}
		lent, back, failed := c.lending(uintptr(fd))
		if failed != nil {
			err = failed
			return path
		}
		paths[path] = lent
		before := end
		end = func() { before(); back() }
		return lent
	})
	if err != nil {
		end()
		return "", nil, fmt.Errorf("lend a file to the engine: %w", err)
	}
	return sql, end, nil
}
