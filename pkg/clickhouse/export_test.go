package clickhouse

// Codes are the names of the table of verdicts.
func Codes() map[int32]string {
	names := map[int32]string{}
	for code, v := range verdicts {
		names[code] = v.name
	}
	return names
}
