// Package engine runs ClickHouse as a child process of Drayage and talks to it.
//
// The child, `dray engine`, loads libchdb (ClickHouse as a library) and serves
// the ClickHouse HTTP interface on loopback or on a unix socket: Serve. The
// parent starts it, restarts it when it crashes, and gives out a URL that stays
// the same all the while: Start. A Client speaks to it, or to any ClickHouse
// server.
//
// How a request is run, in the order of the files:
//
//	handler.go    parameters, user, limits; one answer
//	statement.go  splits what was sent into statement and data
//	session.go    a fresh connection a request: no setting outlives it
//	select.go     results, through a pipe: `SELECT … INTO OUTFILE pipe`
//	insert.go     data, through a pipe: `INSERT … FROM INFILE pipe`
//	frame.go      what makes an aborted pipe differ from one that ended
//	reply.go      status and headers first, or an exception after the body
package engine
