// Package chaos runs a whole Drayage as real processes, breaks it in every way
// it knows while jobs run, heals it, and then asks whether the promises hold:
// every row of the sources once in the target, in quarantine or in a dead
// letter; views and outputs that agree; nothing stranded; no job DONE before its rows are
// there; an end for everything.
//
// What is broken, when and for how long follows from a seed. How the processes
// interleave does not, so a failing seed repeats the faults and not
// necessarily the failure: run it several times.
//
// NATS is a cluster of three servers with every stream on all of them; beside the
// one ClickHouse there are shards, which every fifth job loads into.
//
// The oracle never asks Drayage. It knows the rows because it wrote the files,
// and it reads the tables row by row over a connection of its own that no
// fault touches.
package chaos
