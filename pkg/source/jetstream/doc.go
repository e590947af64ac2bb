// Package jetstream is the source of the messages of a stream of NATS JetStream.
// A job reads a fixed range of sequence numbers, which is settled when its
// planning begins: the range can be read again, and so each message is loaded
// exactly once. Nothing is acknowledged and nothing is removed.
package jetstream
