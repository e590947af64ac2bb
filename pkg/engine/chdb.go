package engine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// chdb is libchdb, loaded. Its functions block the calling thread for as long
// as the statement runs; the Go scheduler gives the other goroutines another.
type chdb struct {
	connect       func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn     func(conn unsafe.Pointer)
	query         func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	destroyResult func(result unsafe.Pointer)
	resultError   func(result unsafe.Pointer) string
	resultBuffer  func(result unsafe.Pointer) unsafe.Pointer
	resultLength  func(result unsafe.Pointer) uintptr
	resultRows    func(result unsafe.Pointer) uint64
	resultBytes   func(result unsafe.Pointer) uint64
	storageRows   func(result unsafe.Pointer) uint64
	storageBytes  func(result unsafe.Pointer) uint64
	rowsWritten   func(result unsafe.Pointer) uint64
	bytesWritten  func(result unsafe.Pointer) uint64
	shutdown      func() int32
	version       func() string
	setSignals    func(enabled int32)
}

// openChdb loads the library at path and turns its signal handlers off: with
// them on, a nil dereference in Go would hang the process instead of ending it.
func openChdb(path string) (*chdb, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	c := &chdb{}
	for name, fn := range map[string]any{
		"chdb_connect":                     &c.connect,
		"chdb_close_conn":                  &c.closeConn,
		"chdb_query_with_params_n":         &c.query,
		"chdb_destroy_query_result":        &c.destroyResult,
		"chdb_result_error":                &c.resultError,
		"chdb_result_buffer":               &c.resultBuffer,
		"chdb_result_length":               &c.resultLength,
		"chdb_result_rows_read":            &c.resultRows,
		"chdb_result_bytes_read":           &c.resultBytes,
		"chdb_result_storage_rows_read":    &c.storageRows,
		"chdb_result_storage_bytes_read":   &c.storageBytes,
		"chdb_result_rows_written":         &c.rowsWritten,
		"chdb_result_bytes_written":        &c.bytesWritten,
		"chdb_shutdown":                    &c.shutdown,
		"chdb_version":                     &c.version,
		"chdb_set_signal_handlers_enabled": &c.setSignals,
	} {
		sym, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("%s is not a libchdb of version 26 or newer: %w", path, err)
		}
		purego.RegisterFunc(fn, sym)
	}
	c.setSignals(0)
	return c, nil
}

// connection is a chdb_connection *.
type connection = unsafe.Pointer

// stats are the counters that the engine reports of one statement.
type stats struct {
	rows, bytes               uint64 // of the result
	storageRows, storageBytes uint64 // read
	writtenRows, writtenBytes uint64
}

// errConnect is what chdb_connect says when it fails: nothing. The reason is
// on standard error.
var errConnect = errors.New("the engine refused the connection")

// open makes a connection. The arguments count as those of `clickhouse local`;
// those of the server (path, memory, …) are heard on the first connection only.
func (c *chdb) open(args []string) (connection, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]unsafe.Pointer, len(args)+1) // NULL at the end
	for i, a := range args {
		b := append([]byte(a), 0)
		pin.Pin(&b[0])
		argv[i] = unsafe.Pointer(&b[0])
	}
	conn := c.connect(int32(len(args)), unsafe.Pointer(&argv[0]))
	runtime.KeepAlive(argv)
	if conn == nil {
		return nil, errConnect
	}
	return conn, nil
}

// address is the address and the length of a string as the library wants them.
func address(s string) (unsafe.Pointer, uintptr) {
	return unsafe.Pointer(unsafe.StringData(s)), uintptr(len(s))
}

// params are the arrays of names and values of {name:Type} placeholders.
type params struct {
	names, values       []unsafe.Pointer
	nameLens, valueLens []uintptr
}

func newParams(m map[string]string, pin *runtime.Pinner) params {
	var p params
	for k, v := range m {
		k, v := []byte(k+"\x00"), []byte(v+"\x00")
		pin.Pin(&k[0])
		pin.Pin(&v[0])
		p.names = append(p.names, unsafe.Pointer(&k[0]))
		p.values = append(p.values, unsafe.Pointer(&v[0]))
		p.nameLens = append(p.nameLens, uintptr(len(k)-1))
		p.valueLens = append(p.valueLens, uintptr(len(v)-1))
	}
	return p
}

// run executes one statement and returns its output. The connection must not
// be used again after an error: the library prepends what was begun of the
// failed output to the next result.
func (c *chdb) run(conn connection, sql, format string, parameters map[string]string) ([]byte, stats, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	p := newParams(parameters, &pin)
	s, sn := address(sql)
	f, fn := address(format)
	res := c.query(*(*unsafe.Pointer)(conn), s, sn, f, fn,
		unsafe.Pointer(unsafe.SliceData(p.names)), unsafe.Pointer(unsafe.SliceData(p.nameLens)),
		unsafe.Pointer(unsafe.SliceData(p.values)), unsafe.Pointer(unsafe.SliceData(p.valueLens)), uintptr(len(p.names)))
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	return c.take(res)
}

// take copies a result out of the library and frees it.
func (c *chdb) take(res unsafe.Pointer) ([]byte, stats, error) {
	if res == nil {
		return nil, stats{}, parseException("Code: 49. DB::Exception: the engine gave no result. (LOGICAL_ERROR)")
	}
	defer c.destroyResult(res)
	st := stats{
		rows: c.resultRows(res), bytes: c.resultBytes(res),
		storageRows: c.storageRows(res), storageBytes: c.storageBytes(res),
		writtenRows: c.rowsWritten(res), writtenBytes: c.bytesWritten(res),
	}
	if msg := c.resultError(res); msg != "" {
		return nil, st, parseException(msg)
	}
	n := c.resultLength(res)
	if n == 0 {
		return nil, st, nil
	}
	out := make([]byte, n)
	copy(out, unsafe.Slice((*byte)(c.resultBuffer(res)), n))
	return out, st, nil
}
