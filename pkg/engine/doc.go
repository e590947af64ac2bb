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
//	handler.go    status, user, limits; one answer a request
//	request.go    parameters; the statement, told apart from its data
//	encoding.go   bodies and replies in the encodings of HTTP and ClickHouse
//	statement.go  what kind of statement it is, and where its data begin
//	session.go    a fresh connection a request: no setting outlives it
//	select.go     results, through a pipe: `SELECT … INTO OUTFILE pipe`
//	insert.go     data, through a pipe: `INSERT … FROM INFILE pipe`
//	frame.go      what makes an aborted pipe differ from one that ended
//	kill.go       a cancelled request ends its statement
//	reply.go      status and headers first, or an exception after the body
//	confine.go    what a confined engine reaches, which the kernel sees to
//	lend.go       files that it can not open by itself
//
// An engine that is not confined reads and writes any file that its user may:
// SQL from people who are not trusted with that must not reach it.
package engine
