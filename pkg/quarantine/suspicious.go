package quarantine

import (
	"errors"

	"drayage/pkg/engine"
	"drayage/pkg/job"
)

// ofStatement are the engine's errors that no row can cause.
var ofStatement = map[int]bool{
	20:  true, // NUMBER_OF_COLUMNS_DOESNT_MATCH
	35:  true, // TOO_MANY_ARGUMENTS_FOR_FUNCTION
	42:  true, // NUMBER_OF_ARGUMENTS_DOESNT_MATCH
	46:  true, // UNKNOWN_FUNCTION
	47:  true, // UNKNOWN_IDENTIFIER
	48:  true, // NOT_IMPLEMENTED
	50:  true, // UNKNOWN_TYPE
	60:  true, // UNKNOWN_TABLE
	62:  true, // SYNTAX_ERROR
	63:  true, // UNKNOWN_AGGREGATE_FUNCTION
	73:  true, // UNKNOWN_FORMAT
	76:  true, // CANNOT_OPEN_FILE
	81:  true, // UNKNOWN_DATABASE
	107: true, // FILE_DOESNT_EXIST
	115: true, // UNKNOWN_SETTING
	167: true, // TOO_DEEP_AST
	168: true, // TOO_BIG_AST
	497: true, // ACCESS_DENIED
}

// Codes of text that ends too soon, which for a pipe is a reason to try again
// and for a row is not.
const (
	afterEnd   = 32 // ATTEMPT_TO_READ_AFTER_EOF
	notAllData = 33 // CANNOT_READ_ALL_DATA
)

// Suspicious reports whether err may come from the rows of the input, so that
// Separate is worth its time: an exception of the engine, by its code, that
// trying again does not cure and that is not one of the statement as such.
// Separate finds out whether rows are at fault.
func Suspicious(err error) bool {
	var e *engine.Exception
	if !errors.As(err, &e) || ofStatement[e.Code] {
		return false
	}
	return e.Code == afterEnd || e.Code == notAllData || job.ClassOf(err) == job.Permanent
}
