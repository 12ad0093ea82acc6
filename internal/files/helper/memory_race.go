//go:build race

package helper

// memoryMost is no limit: the race detector's own memory is beyond any.
const memoryMost = 0
