package job

// MaxID bounds the length of a job's identifier, in bytes.
const MaxID = 128

// ValidID reports whether id may name a job: 1 to MaxID characters of
// [a-z0-9_-]. Such an id is safe as one token of a NATS subject, as a key, as
// part of a ClickHouse query_id and as a file name, so nobody needs to escape it.
func ValidID(id string) bool {
	if len(id) == 0 || len(id) > MaxID {
		return false
	}
	for i := 0; i < len(id); i++ {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
