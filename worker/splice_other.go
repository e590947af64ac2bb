//go:build !linux

package worker

import "os"

// splice moves nothing where the kernel has no such call: the caller reads.
func splice(_, _ *os.File, _, _ int64, _ func()) (int64, error) { return 0, nil }
