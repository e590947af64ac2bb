package engine

import "encoding/binary"

// clickhouse-go begins each connection with one query, and decodes every reply
// after it at the revision that this one names. The engine writes Native at
// revision 0, so that is what is answered; the answer itself must be in the
// client's own revision, which has the block info and, since 54454, a byte
// after each type.
const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

// helloBlock is the answer.
func helloBlock(name, version string) []byte {
	b := []byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0} // block info: no overflow, no bucket
	b = append(b, 4, 1)                             // columns, rows
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	column := func(name, typ string) {
		text(name)
		text(typ)
		b = append(b, 0) // no custom serialization
	}
	column("displayName()", "String")
	text(name)
	column("version()", "String")
	text(version)
	column("revision()", "UInt32")
	b = append(b, 0, 0, 0, 0)
	column("timezone()", "String")
	text("UTC")
	return b
}
