// Package rest is the source of records that an HTTP API answers as JSON, page
// by page.
//
// A chunk is a range of days or ids, one of a list of values, or the whole; its
// pages are read in order, one after the other, in one pass. What is frozen is
// the range. What the API answers for it is not: an API is alive, has no
// versions to compare, and may answer otherwise when a chunk is tried again, or
// when its rejected rows are separated. So this package promises no equal bytes
// and keeps no hash of them, and ErrChanged never comes from it. A chunk is
// loaded whole or not at all.
package rest
