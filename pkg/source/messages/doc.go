// Package messages is what the sources of messages share: how values become the
// bytes of an input format, with what the broker knows of each message beside
// them, and how columns are found from a sample.
package messages
