//go:build !race

package helper

// memoryMost is how many bytes of memory a helper can have. One that is asked for
// more ends, as if it was killed, and the next request starts another: a user who
// packs and lists without end harms nobody else.
const memoryMost = 2 << 30
