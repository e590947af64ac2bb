package stage

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// encode writes a value as one line of JSON.
func encode(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case nil:
		return json.RawMessage("null"), nil
	case string:
		return quote(v), nil
	case []byte:
		return quote(string(v)), nil
	case bool:
		return strconv.AppendBool(nil, v), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	case uint64:
		return strconv.AppendUint(nil, v, 10), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return quote(strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(v, 'g', -1, 64)), "+")), nil
		}
		return json.Marshal(v)
	case time.Time:
		return quote(v.UTC().Format(time.RFC3339Nano)), nil
	case json.RawMessage:
		return compact(v)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// compact makes JSON one line.
func compact(v json.RawMessage) (json.RawMessage, error) {
	if !json.Valid(v) {
		return nil, errors.New("it is not set to JSON")
	}
	if bytes.IndexByte(v, '\n') < 0 {
		return bytes.Clone(v), nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

const hex = "0123456789abcdef"

// quote writes the bytes of s as a JSON string, also those that are not UTF-8,
// which encoding/json would replace.
func quote(s string) []byte {
	b := make([]byte, 0, len(s)+len(`""`))
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}

var errString = errors.New("it is not a JSON string")

// unquote is the text of a JSON string, with bytes that are not UTF-8 as they
// stand.
func unquote(raw []byte) (string, error) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", errString
	}
	raw = raw[1 : len(raw)-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw), nil
	}
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 {
			return string(append(out, raw...)), nil
		}
		out = append(out, raw[:at]...)
		raw = raw[at:]
		if len(raw) < 2 {
			return "", errString
		}
		switch c := raw[1]; c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b', 'f', 'n', 'r', 't':
			out = append(out, "\b\f\n\r\t"[strings.IndexByte("bfnrt", c)])
		case 'u':
			// encoding/json knows about the pairs of which some are made.
			n := 6
			if len(raw) >= 12 && raw[6] == '\\' && raw[7] == 'u' && (raw[2] == 'd' || raw[2] == 'D') {
				n = 12
			}
			if len(raw) < n {
				return "", errString
			}
			var text string
			if err := json.Unmarshal(append(append([]byte{'"'}, raw[:n]...), '"'), &text); err != nil {
				return "", errString
			}
			out = append(out, text...)
			raw = raw[n:]
			continue
		default:
			return "", errString
		}
		raw = raw[2:]
	}
	return string(out), nil
}

// shown shortens a text for a reason.
func shown(s string) string {
	if len(s) <= MaxReason {
		return s
	}
	s = s[:MaxReason]
	for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "") + "…"
}
