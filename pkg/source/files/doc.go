// Package files is the source of files: paths and globs of CSV, TSV, JSON, logs,
// Parquet and what else ClickHouse reads, plain or compressed. They are files of
// this machine, which the engine reads by itself where it can, or objects of a
// store (package store), which are read by ranges and streamed.
//
// Plain text is cut into ranges of whole records (package borders), Parquet
// into row groups (package rowgroups), everything else is one chunk a file.
// Each chunk names the version of its file (size and modification time, or what
// its store calls the version); a file that changed under a job is an error for
// its chunks, never a mixture.
//
// Rows are read as strictly as the engine can be told to: unknown JSON keys,
// missing keys of columns that are not Nullable, columns that a Parquet file
// lacks, headers that name other columns: all errors. The engine has no setting
// against these, which the tests keep watch over: in a column that is not
// Nullable a JSON null and an empty field of CSV or TSV read as 0 or as the
// empty text (an empty date, float or Bool of CSV is an error where no column is
// text or Nullable); a number too big for its type wraps. In a compressed file, which nobody looks through
// before the engine does, a quote that is never closed takes the rest of the
// file for its value; in a plain one it is an error.
package files
