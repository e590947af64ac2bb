// Package postgres is the source of the rows of a PostgreSQL table or query. A
// table is cut into ranges of its key by walking the index of the key, or into
// ranges of blocks where it has none, and each chunk is one COPY of a range.
// PostgreSQL writes the values as the engine reads them; nothing here touches one.
package postgres
