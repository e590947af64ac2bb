// Package relation is the source of rows that the engine fetches or makes
// itself: any SELECT over any of its table functions, cut into chunks by a
// parameter, and numbered synthetic rows.
package relation
