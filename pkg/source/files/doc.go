// Package files is the source of local files: paths and globs of CSV, TSV,
// JSON, logs, Parquet and what else ClickHouse reads, plain or compressed.
//
// Plain text is cut into ranges of whole records (package borders), Parquet
// into row groups (package rowgroups), everything else is one chunk a file.
// Each chunk names the version of its file (size and modification time); a
// file that changed under a job is an error for its chunks, never a mixture.
//
// Rows are read as strictly as the engine can be told to: unknown JSON keys,
// missing keys of columns that are not Nullable, columns that a Parquet file
// lacks, headers that name other columns: all errors. Not told, because the
// engine has no setting for it: an empty CSV or TSV field and a JSON null in a
// column of a number type that is not Nullable read as 0, and numbers too big
// for their type wrap.
package files
