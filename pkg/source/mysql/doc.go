// Package mysql is the source of the rows of a table or query of MySQL or
// MariaDB. A table is cut into ranges of its key by walking the index of the key,
// and each chunk is one SELECT of a range, whose rows are read as they come. The
// server compares keys, and writes the values; nothing here parses one.
package mysql
