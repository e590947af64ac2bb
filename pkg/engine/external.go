package engine

import (
	"context"
	"io"
	"mime/multipart"
	"strconv"
	"strings"
)

// External tables come as parts of a multipart form: the part's name is the
// table's, and the parameters name_structure (or name_types) and name_format say
// what it holds. They become temporary tables of the request's session.

// isTableParameter reports whether a parameter describes an external table.
func isTableParameter(name string) bool {
	return strings.HasSuffix(name, "_structure") || strings.HasSuffix(name, "_format") || strings.HasSuffix(name, "_types")
}

// readForm loads the external tables of a form into the session and returns
// the form's query, if it has one, behind that of the URL.
func (req *request) readForm(ctx context.Context, ses *session) error {
	for {
		part, err := req.parts.NextPart()
		if err == io.EOF {
			req.body = strings.NewReader("")
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		if err := req.readPart(ctx, ses, part); err != nil {
			return err
		}
	}
}

func (req *request) readPart(ctx context.Context, ses *session, part *multipart.Part) error {
	name := part.FormName()
	structure := req.values.Get(name + "_structure")
	if types := req.values.Get(name + "_types"); structure == "" && types != "" {
		var columns []string
		for i, typ := range strings.Split(types, ",") {
			columns = append(columns, "_"+strconv.Itoa(i+1)+" "+typ)
		}
		structure = strings.Join(columns, ", ")
	}
	if structure == "" {
		text, err := io.ReadAll(io.LimitReader(part, maxStatement+1))
		if err != nil {
			return unreadable(err)
		}
		switch {
		case name == "query":
			req.query += string(text)
		case strings.HasPrefix(name, "param_"):
			req.parameters[strings.TrimPrefix(name, "param_")] = string(text)
		default:
			return &Exception{36, "BAD_ARGUMENTS", "Part " + name + " of the form has no " + name + "_structure"}
		}
		return nil
	}
	format := req.values.Get(name + "_format")
	if format == "" {
		format = "TabSeparated"
	}
	st, _, err := parse([]byte("INSERT INTO "+quoteName(name)+" FORMAT "+format), true)
	if err != nil {
		return err
	}
	if _, _, err := ses.run(ctx, "CREATE TEMPORARY TABLE "+quoteName(name)+" ("+structure+")", "Null", nil); err != nil {
		return err
	}
	_, err = ses.streamInsert(ctx, st, nil, part)
	return err
}
