package clickhouse

import (
	"errors"

	"drayage/pkg/job"
)

const (
	codeTableAlreadyExists   = 57
	codeUnknownTable         = 60
	codeSyntaxError          = 62
	codeUnknownUser          = 192
	codeWrongPassword        = 193
	codeRequiredPassword     = 194
	codeTableIsDropped       = 218
	codeDeadlockAvoided      = 473
	codeAccessDenied         = 497
	codeAuthenticationFailed = 516
)

// verdicts is the one table from a ClickHouse error code to what it means for
// the chunk that met it. A code that is not here is job.Retry: it costs an
// attempt, and a chunk has few. The names are checked against the engine's.
//
//nolint:gochecknoglobals // a constant table
var verdicts = map[int32]struct {
	name  string
	class job.Class
}{
	// The server, or what it stands on, is overloaded or away: later.
	159: {"TIMEOUT_EXCEEDED", job.SlowDown},
	160: {"TOO_SLOW", job.SlowDown},
	164: {"READONLY", job.Permanent}, // the user's profile, not the table: see 242
	173: {"CANNOT_ALLOCATE_MEMORY", job.SlowDown},
	198: {"DNS_ERROR", job.SlowDown},
	201: {"QUOTA_EXCEEDED", job.SlowDown},
	202: {"TOO_MANY_SIMULTANEOUS_QUERIES", job.SlowDown},
	203: {"NO_FREE_CONNECTION", job.SlowDown},
	209: {"SOCKET_TIMEOUT", job.SlowDown},
	210: {"NETWORK_ERROR", job.SlowDown},
	216: {"QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", job.SlowDown}, // a twin is at work
	225: {"NO_ZOOKEEPER", job.SlowDown},
	241: {"MEMORY_LIMIT_EXCEEDED", job.SlowDown},
	242: {"TABLE_IS_READ_ONLY", job.SlowDown}, // the replica lost Keeper
	243: {"NOT_ENOUGH_SPACE", job.SlowDown},
	244: {"UNEXPECTED_ZOOKEEPER_ERROR", job.SlowDown},
	252: {"TOO_MANY_PARTS", job.SlowDown},
	254: {"NO_ACTIVE_REPLICAS", job.SlowDown},
	265: {"NO_AVAILABLE_REPLICA", job.SlowDown},
	279: {"ALL_CONNECTION_TRIES_FAILED", job.SlowDown},
	285: {"TOO_FEW_LIVE_REPLICAS", job.SlowDown},
	286: {"UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", job.SlowDown},
	289: {"REPLICA_IS_NOT_IN_QUORUM", job.SlowDown},
	297: {"SHARD_HAS_NO_CONNECTIONS", job.SlowDown},
	364: {"RECEIVED_ERROR_TOO_MANY_REQUESTS", job.SlowDown},
	369: {"ALL_REPLICAS_ARE_STALE", job.SlowDown},
	373: {"SESSION_IS_LOCKED", job.SlowDown}, // a proxy's: we open none
	384: {"PART_IS_TEMPORARILY_LOCKED", job.SlowDown},
	410: {"EXTERNAL_SERVER_IS_NOT_RESPONDING", job.SlowDown},
	439: {"CANNOT_SCHEDULE_TASK", job.SlowDown},
	473: {"DEADLOCK_AVOIDED", job.SlowDown},
	529: {"NOT_A_LEADER", job.SlowDown},
	568: {"RAFT_ERROR", job.SlowDown},
	574: {"DISTRIBUTED_TOO_MANY_PENDING_BYTES", job.SlowDown},
	692: {"TOO_MANY_MUTATIONS", job.SlowDown},
	696: {"ASYNC_LOAD_CANCELED", job.SlowDown},
	700: {"USER_SESSION_LIMIT_EXCEEDED", job.SlowDown},
	733: {"TABLE_IS_BEING_RESTARTED", job.SlowDown},
	745: {"SERVER_OVERLOADED", job.SlowDown},
	749: {"TCP_CONNECTION_LIMIT_REACHED", job.SlowDown},
	762: {"HTTP_CONNECTION_LIMIT_REACHED", job.SlowDown},
	763: {"SESSION_REFUSED", job.SlowDown},
	776: {"RESOURCE_LIMIT_EXCEEDED", job.SlowDown},
	777: {"MEMORY_RESERVATION_KILLED", job.SlowDown},
	778: {"MEMORY_RESERVATION_FAILED", job.SlowDown},
	999: {"KEEPER_EXCEPTION", job.SlowDown},

	// A limit on what one statement may take, of the user's profile: not on
	// what the server has left, so that waiting does not help.
	158: {"TOO_MANY_ROWS", job.TooBig},
	191: {"SET_SIZE_LIMIT_EXCEEDED", job.TooBig},
	290: {"LIMIT_EXCEEDED", job.TooBig},
	307: {"TOO_MANY_BYTES", job.TooBig},
	396: {"TOO_MANY_ROWS_OR_BYTES", job.TooBig},

	// Nobody knows whether the rows are there.
	319: {"UNKNOWN_STATUS_OF_INSERT", job.Unknown},
	389: {"INSERT_WAS_DEDUPLICATED", job.Unknown},
	416: {"REPLICA_STATUS_CHANGED", job.Unknown}, // while a quorum was awaited
	659: {"UNKNOWN_STATUS_OF_TRANSACTION", job.Unknown},

	// The request was cut or damaged on its way, or was stopped.
	3:   {"UNEXPECTED_END_OF_FILE", job.Retry},
	23:  {"CANNOT_READ_FROM_ISTREAM", job.Retry},
	32:  {"ATTEMPT_TO_READ_AFTER_EOF", job.Retry},
	33:  {"CANNOT_READ_ALL_DATA", job.Retry},
	40:  {"CHECKSUM_DOESNT_MATCH", job.Retry},
	49:  {"LOGICAL_ERROR", job.Retry},
	95:  {"CANNOT_READ_FROM_SOCKET", job.Retry},
	96:  {"CANNOT_WRITE_TO_SOCKET", job.Retry},
	236: {"ABORTED", job.Retry},
	271: {"CANNOT_DECOMPRESS", job.Retry},
	372: {"SESSION_NOT_FOUND", job.Retry},
	394: {"QUERY_WAS_CANCELLED", job.Retry},
	561: {"ZSTD_DECODER_FAILED", job.Retry},
	618: {"LZ4_DECODER_FAILED", job.Retry},
	677: {"THREAD_WAS_CANCELED", job.Retry},
	734: {"CANNOT_WRITE_AFTER_BUFFER_CANCELED", job.Retry},
	735: {"QUERY_WAS_CANCELLED_BY_CLIENT", job.Retry},

	// A person must change something: data, SQL, table, rights, settings.
	1:   {"UNSUPPORTED_METHOD", job.Permanent},
	2:   {"UNSUPPORTED_PARAMETER", job.Permanent},
	6:   {"CANNOT_PARSE_TEXT", job.Permanent},
	7:   {"INCORRECT_NUMBER_OF_COLUMNS", job.Permanent},
	8:   {"THERE_IS_NO_COLUMN", job.Permanent},
	9:   {"SIZES_OF_COLUMNS_DOESNT_MATCH", job.Permanent},
	10:  {"NOT_FOUND_COLUMN_IN_BLOCK", job.Permanent},
	12:  {"PARAMETER_OUT_OF_BOUND", job.Permanent},
	15:  {"DUPLICATE_COLUMN", job.Permanent},
	16:  {"NO_SUCH_COLUMN_IN_TABLE", job.Permanent},
	20:  {"NUMBER_OF_COLUMNS_DOESNT_MATCH", job.Permanent},
	25:  {"CANNOT_PARSE_ESCAPE_SEQUENCE", job.Permanent},
	26:  {"CANNOT_PARSE_QUOTED_STRING", job.Permanent},
	27:  {"CANNOT_PARSE_INPUT_ASSERTION_FAILED", job.Permanent},
	34:  {"TOO_MANY_ARGUMENTS_FOR_FUNCTION", job.Permanent},
	35:  {"TOO_FEW_ARGUMENTS_FOR_FUNCTION", job.Permanent},
	36:  {"BAD_ARGUMENTS", job.Permanent},
	38:  {"CANNOT_PARSE_DATE", job.Permanent},
	41:  {"CANNOT_PARSE_DATETIME", job.Permanent},
	42:  {"NUMBER_OF_ARGUMENTS_DOESNT_MATCH", job.Permanent},
	43:  {"ILLEGAL_TYPE_OF_ARGUMENT", job.Permanent},
	44:  {"ILLEGAL_COLUMN", job.Permanent},
	46:  {"UNKNOWN_FUNCTION", job.Permanent},
	47:  {"UNKNOWN_IDENTIFIER", job.Permanent},
	48:  {"NOT_IMPLEMENTED", job.Permanent},
	50:  {"UNKNOWN_TYPE", job.Permanent},
	53:  {"TYPE_MISMATCH", job.Permanent},
	56:  {"UNKNOWN_STORAGE", job.Permanent},
	57:  {"TABLE_ALREADY_EXISTS", job.Permanent},
	60:  {"UNKNOWN_TABLE", job.Permanent},
	62:  {"SYNTAX_ERROR", job.Permanent},
	63:  {"UNKNOWN_AGGREGATE_FUNCTION", job.Permanent},
	69:  {"ARGUMENT_OUT_OF_BOUND", job.Permanent},
	70:  {"CANNOT_CONVERT_TYPE", job.Permanent},
	72:  {"CANNOT_PARSE_NUMBER", job.Permanent},
	73:  {"UNKNOWN_FORMAT", job.Permanent},
	80:  {"INCORRECT_QUERY", job.Permanent},
	81:  {"UNKNOWN_DATABASE", job.Permanent},
	115: {"UNKNOWN_SETTING", job.Permanent},
	117: {"INCORRECT_DATA", job.Permanent},
	119: {"ENGINE_REQUIRED", job.Permanent},
	122: {"INCOMPATIBLE_COLUMNS", job.Permanent},
	125: {"INCORRECT_RESULT_OF_SCALAR_SUBQUERY", job.Permanent},
	127: {"ILLEGAL_INDEX", job.Permanent},
	128: {"TOO_LARGE_ARRAY_SIZE", job.Permanent},
	131: {"TOO_LARGE_STRING_SIZE", job.Permanent},
	153: {"ILLEGAL_DIVISION", job.Permanent},
	161: {"TOO_MANY_COLUMNS", job.Permanent},
	179: {"MULTIPLE_EXPRESSIONS_FOR_ALIAS", job.Permanent},
	184: {"ILLEGAL_AGGREGATION", job.Permanent},
	190: {"SIZES_OF_ARRAYS_DONT_MATCH", job.Permanent},
	192: {"UNKNOWN_USER", job.Permanent},
	193: {"WRONG_PASSWORD", job.Permanent},
	194: {"REQUIRED_PASSWORD", job.Permanent},
	195: {"IP_ADDRESS_NOT_ALLOWED", job.Permanent},
	207: {"AMBIGUOUS_IDENTIFIER", job.Permanent},
	215: {"NOT_AN_AGGREGATE", job.Permanent},
	218: {"TABLE_IS_DROPPED", job.Permanent},
	229: {"QUERY_IS_TOO_LARGE", job.Permanent},
	248: {"INVALID_PARTITION_VALUE", job.Permanent},
	291: {"DATABASE_ACCESS_DENIED", job.Permanent},
	321: {"VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", job.Permanent},
	344: {"SUPPORT_IS_DISABLED", job.Permanent},
	349: {"CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", job.Permanent},
	352: {"AMBIGUOUS_COLUMN_NAME", job.Permanent},
	359: {"TABLE_SIZE_EXCEEDS_MAX_DROP_SIZE_LIMIT", job.Permanent},
	366: {"SIZES_OF_NESTED_COLUMNS_ARE_INCONSISTENT", job.Permanent},
	370: {"DATA_TYPE_CANNOT_BE_USED_IN_TABLES", job.Permanent},
	376: {"CANNOT_PARSE_UUID", job.Permanent},
	377: {"ILLEGAL_SYNTAX_FOR_DATA_TYPE", job.Permanent},
	378: {"DATA_TYPE_CANNOT_HAVE_ARGUMENTS", job.Permanent},
	386: {"NO_COMMON_TYPE", job.Permanent},
	392: {"QUERY_IS_PROHIBITED", job.Permanent},
	395: {"FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", job.Permanent},
	407: {"DECIMAL_OVERFLOW", job.Permanent},
	427: {"CANNOT_COMPILE_REGEXP", job.Permanent},
	431: {"ILLEGAL_SYNTAX_FOR_CODEC_TYPE", job.Permanent},
	432: {"UNKNOWN_CODEC", job.Permanent},
	433: {"ILLEGAL_CODEC_PARAMETER", job.Permanent},
	446: {"FUNCTION_NOT_ALLOWED", job.Permanent},
	450: {"BAD_TTL_EXPRESSION", job.Permanent},
	452: {"SETTING_CONSTRAINT_VIOLATION", job.Permanent},
	455: {"SUSPICIOUS_TYPE_FOR_LOW_CARDINALITY", job.Permanent},
	456: {"UNKNOWN_QUERY_PARAMETER", job.Permanent},
	457: {"BAD_QUERY_PARAMETER", job.Permanent},
	467: {"CANNOT_PARSE_BOOL", job.Permanent},
	469: {"VIOLATED_CONSTRAINT", job.Permanent},
	471: {"INVALID_SETTING_VALUE", job.Permanent},
	472: {"READONLY_SETTING", job.Permanent},
	478: {"UNKNOWN_POLICY", job.Permanent},
	479: {"UNKNOWN_DISK", job.Permanent},
	481: {"PATH_ACCESS_DENIED", job.Permanent},
	491: {"UNACCEPTABLE_URL", job.Permanent},
	497: {"ACCESS_DENIED", job.Permanent},
	511: {"UNKNOWN_ROLE", job.Permanent},
	512: {"SET_NON_GRANTED_ROLE", job.Permanent},
	516: {"AUTHENTICATION_FAILED", job.Permanent},
	549: {"DATA_TYPE_CANNOT_BE_USED_IN_KEY", job.Permanent},
	583: {"ILLEGAL_PROJECTION", job.Permanent},
	620: {"QUERY_NOT_ALLOWED", job.Permanent},
	630: {"HAVE_DEPENDENT_OBJECTS", job.Permanent},
	632: {"UNEXPECTED_DATA_AFTER_PARSED_VALUE", job.Permanent},
	675: {"CANNOT_PARSE_IPV4", job.Permanent},
	676: {"CANNOT_PARSE_IPV6", job.Permanent},
	691: {"UNKNOWN_ELEMENT_OF_ENUM", job.Permanent},
	703: {"INVALID_IDENTIFIER", job.Permanent},
	720: {"USER_EXPIRED", job.Permanent},
	727: {"UNEXPECTED_TABLE_ENGINE", job.Permanent},
	728: {"UNEXPECTED_DATA_TYPE", job.Permanent},
	764: {"DEDUPLICATION_IS_NOT_POSSIBLE", job.Permanent},
	767: {"REQUIRED_SECOND_FACTOR", job.Permanent},
	774: {"TABLE_IS_PERMANENTLY_READ_ONLY", job.Permanent},
}

// ErrorLabel says in few words what an error came from, for a counter: one of
// ClickHouse's codes that this package knows, with its name; -1 and OTHER for its
// other codes; 0 and NO_ANSWER where ClickHouse has not answered.
func ErrorLabel(err error) (code int32, name string) {
	var x *Exception
	if !errors.As(err, &x) {
		return 0, "NO_ANSWER"
	}
	if v, ok := verdicts[x.Code]; ok {
		return x.Code, v.name
	}
	return -1, "OTHER"
}
