package mysql

import (
	"fmt"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
)

// Watermark implements keyed.Relation.
func (r *relation) Watermark(name string) (*keyed.Key, error) {
	col := r.column(name)
	if col.typ.manner() == unfit || r.query && col.typ.text() {
		// How the texts of a query are compared is known of its rows alone.
		return nil, job.Permanentf("%s: a column of the type %s can not be a watermark, as %q is; a number or a time can", r.c.cfg.Name(), col.typ.name, name)
	}
	return r.keyOf(col)
}

// Largest implements keyed.Relation.
func (r *relation) Largest(k *keyed.Key, where string) (doing, sql string) {
	return "looking for the largest key", k.Last(where)
}

// Back implements keyed.Relation.
func (r *relation) Back(k *keyed.Key, value string) (string, error) {
	l, col := r.c.cfg.Watermark.Lookback, r.column(k.Columns[0].Name)
	switch t := col.typ; {
	case l.Unit != "" && t.name == "date":
		return fmt.Sprintf("CAST(CAST('%s' AS DATETIME) - INTERVAL %d %s AS DATE)", value, l.N, l.Unit), nil
	case l.Unit != "" && t.is("datetime", "timestamp"):
		return fmt.Sprintf("CAST('%s' AS DATETIME(6)) - INTERVAL %d %s", value, l.N, l.Unit), nil
	case l.Unit == "" && t.is("float", "double"):
		return fmt.Sprintf("%s - %de0", value, l.N), nil
	case l.Unit == "" && (t.integer() || t.is("decimal", "bit")):
		// Below zero there is no unsigned number: it would be an error.
		return fmt.Sprintf("CAST(%s AS DECIMAL(65, %d)) - %d", value, t.decimals(), l.N), nil
	case l.Unit != "":
		return "", job.Permanentf("%s: incremental.lookback %d %s can not be taken off a %s, as %s is: write a number", r.c.cfg.Name(), l.N, l.Unit, t.name, col.name)
	default:
		return "", job.Permanentf("%s: incremental.lookback %d can not be taken off a %s, as %s is: write a time, such as 1 hour", r.c.cfg.Name(), l.N, t.name, col.name)
	}
}
