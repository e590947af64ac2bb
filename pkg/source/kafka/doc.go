// Package kafka is the source of the messages of a Kafka topic. A job reads a
// fixed range of offsets of each partition, which is settled when its planning
// begins: the range can be read again, and so each message is loaded exactly
// once. No consumer group is joined and no offset is committed.
package kafka
