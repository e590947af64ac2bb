package engine

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"drayage/pkg/job"
)

// Exception is an error that ClickHouse raised.
type Exception struct {
	Code    int    // the number, 62 for a syntax error
	Name    string // the name of the number, "SYNTAX_ERROR"
	Message string // what ClickHouse said, without code and name
}

// Error is the text as ClickHouse gives it.
func (e *Exception) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("Code: %d. DB::Exception: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("Code: %d. DB::Exception: %s (%s)", e.Code, e.Message, e.Name)
}

// exceptionText is the text of an exception: code, message, name, version.
var exceptionText = regexp.MustCompile(`(?s)^Code: (\d+)\. (?:DB::[A-Za-z]*Exception: )?(.*?)(?: \(([A-Z][A-Z0-9_]+)\))?\s*(?:\(version [^()]*(?:\([^()]*\))?\))?\.?\s*$`)

// ourPipes is what messages say of the pipes between handler and engine.
var ourPipes = regexp.MustCompile(`(?:: )?\(in file/uri /proc/self/fd/\d+\)|: While executing File: data for INSERT was parsed from file|: data for INSERT was parsed from file| ?FROM INFILE '/proc/self/fd/\d+' COMPRESSION 'lz4'`)

// parseException reads an error message of the engine or of a server.
func parseException(msg string) *Exception {
	msg = strings.TrimSpace(msg)
	m := exceptionText.FindStringSubmatch(msg)
	if m == nil {
		return &Exception{Code: codeForeign, Name: "UNKNOWN_EXCEPTION", Message: msg}
	}
	code, err := strconv.Atoi(m[1])
	if err != nil {
		code = codeForeign
	}
	e := &Exception{Code: code, Name: m[3], Message: m[2]}
	// Errors of the reading side come wrapped in the same error again.
	if strings.HasPrefix(e.Message, "Code: "+m[1]+". ") {
		if inner := parseException(e.Message); inner.Name == e.Name || inner.Name == "" {
			e.Message = inner.Message
		}
	}
	e.Message = strings.TrimRight(ourPipes.ReplaceAllString(e.Message, ""), " \n")
	return e
}

// The codes that this package raises or looks for.
const (
	codeSyntax         = 62
	codeNotImplemented = 48
	codeReadAll        = 33
	codeUnknownSetting = 115
	codeTimeout        = 159
	codeReadonly       = 164
	codeTooMany        = 202
	codeNetwork        = 210
	codeSameID         = 216
	codeNoSession      = 372
	codeSessionLocked  = 373
	codeCancelled      = 394
	codePassword       = 516
	codeForeign        = 1002 // an error that is no exception of ClickHouse
)

// statuses are the HTTP statuses of ClickHouse by error code; 500 for others.
var statuses = map[int]int{
	194: http.StatusUnauthorized, // REQUIRED_PASSWORD
	192: http.StatusForbidden,    // UNKNOWN_USER
	193: http.StatusForbidden,    // WRONG_PASSWORD
	497: http.StatusForbidden,    // ACCESS_DENIED
	512: http.StatusForbidden,    // SET_NON_GRANTED_ROLE
	516: http.StatusForbidden,    // AUTHENTICATION_FAILED

	6:   http.StatusBadRequest, // CANNOT_PARSE_TEXT
	8:   http.StatusBadRequest, // THERE_IS_NO_COLUMN
	15:  http.StatusBadRequest, // DUPLICATE_COLUMN
	25:  http.StatusBadRequest, // CANNOT_PARSE_ESCAPE_SEQUENCE
	26:  http.StatusBadRequest, // CANNOT_PARSE_QUOTED_STRING
	27:  http.StatusBadRequest, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
	36:  http.StatusBadRequest, // BAD_ARGUMENTS
	37:  http.StatusBadRequest, // UNKNOWN_ELEMENT_IN_AST
	38:  http.StatusBadRequest, // CANNOT_PARSE_DATE
	41:  http.StatusBadRequest, // CANNOT_PARSE_DATETIME
	44:  http.StatusBadRequest, // ILLEGAL_COLUMN
	53:  http.StatusBadRequest, // TYPE_MISMATCH
	62:  http.StatusBadRequest, // SYNTAX_ERROR
	72:  http.StatusBadRequest, // CANNOT_PARSE_NUMBER
	117: http.StatusBadRequest, // INCORRECT_DATA
	123: http.StatusBadRequest, // UNKNOWN_TYPE_OF_AST_NODE
	167: http.StatusBadRequest, // TOO_DEEP_AST
	168: http.StatusBadRequest, // TOO_BIG_AST
	223: http.StatusBadRequest, // UNEXPECTED_AST_STRUCTURE
	321: http.StatusBadRequest, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
	376: http.StatusBadRequest, // CANNOT_PARSE_UUID
	427: http.StatusBadRequest, // CANNOT_COMPILE_REGEXP
	441: http.StatusBadRequest, // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING
	675: http.StatusBadRequest, // CANNOT_PARSE_IPV4
	676: http.StatusBadRequest, // CANNOT_PARSE_IPV6

	46:  http.StatusNotFound, // UNKNOWN_FUNCTION
	47:  http.StatusNotFound, // UNKNOWN_IDENTIFIER
	50:  http.StatusNotFound, // UNKNOWN_TYPE
	56:  http.StatusNotFound, // UNKNOWN_STORAGE
	60:  http.StatusNotFound, // UNKNOWN_TABLE
	63:  http.StatusNotFound, // UNKNOWN_AGGREGATE_FUNCTION
	73:  http.StatusNotFound, // UNKNOWN_FORMAT
	78:  http.StatusNotFound, // UNKNOWN_TYPE_OF_QUERY
	81:  http.StatusNotFound, // UNKNOWN_DATABASE
	115: http.StatusNotFound, // UNKNOWN_SETTING
	152: http.StatusNotFound, // UNKNOWN_DIRECTION_OF_SORTING
	336: http.StatusNotFound, // UNKNOWN_DATABASE_ENGINE
	511: http.StatusNotFound, // UNKNOWN_ROLE

	48:  http.StatusNotImplemented,        // NOT_IMPLEMENTED
	76:  http.StatusServiceUnavailable,    // CANNOT_OPEN_FILE
	159: http.StatusRequestTimeout,        // TIMEOUT_EXCEEDED
	229: http.StatusRequestEntityTooLarge, // QUERY_IS_TOO_LARGE
	209: http.StatusServiceUnavailable,    // SOCKET_TIMEOUT
	381: http.StatusLengthRequired,        // HTTP_LENGTH_REQUIRED
	439: http.StatusServiceUnavailable,    // CANNOT_SCHEDULE_TASK
	779: http.StatusUnsupportedMediaType,  // UNSUPPORTED_MEDIA_TYPE
}

// status is the HTTP status that ClickHouse answers the exception with.
func (e *Exception) status() int {
	if s, ok := statuses[e.Code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// class says what the exception means for the chunk that met it.
func (e *Exception) class() job.Class {
	switch e.Code {
	case 202, 252: // TOO_MANY_SIMULTANEOUS_QUERIES, TOO_MANY_PARTS
		return job.SlowDown
	case 159, 173, 191, 241, 307, 396:
		// TIMEOUT_EXCEEDED, CANNOT_ALLOCATE_MEMORY, SET_SIZE_LIMIT_EXCEEDED,
		// MEMORY_LIMIT_EXCEEDED, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES: of the
		// engine that computes a chunk, so a smaller one may do.
		return job.TooBig
	case 319: // UNKNOWN_STATUS_OF_INSERT
		return job.Unknown
	case 33, 32, 160, 164, 209, 210, 216, 236, 242, 243, 394, 425, 439, 473, 999, 1000, 1001, 1002:
		// Data cut short, too slow, read only, network, a twin still running,
		// cancelled, no space, system, lock timeout, Keeper, foreign exceptions.
		return job.Retry
	default:
		return job.Permanent
	}
}

// asException turns any error of running a statement into an exception.
func asException(err error) *Exception {
	var e *Exception
	if errors.As(err, &e) {
		return e
	}
	return &Exception{1002, "UNKNOWN_EXCEPTION", err.Error()}
}
