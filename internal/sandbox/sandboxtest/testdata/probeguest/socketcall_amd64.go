package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// int80 is a system call through the 32-bit table.
func int80(nr, a, b uintptr) int32

// socketcall32 asks for an AF_ALG socket through the 32-bit table, whose one
// call for all of sockets hides the family from a seccomp filter. The sandbox's
// filter kills the thread that uses that table at all.
func socketcall32([]string) error {
	low, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_32BIT)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(low[0:], unix.AF_ALG)
	binary.LittleEndian.PutUint32(low[4:], unix.SOCK_SEQPACKET)

	runtime.GOMAXPROCS(4) // the killed thread takes one with it
	thread, answer := make(chan int), make(chan int32, 1)
	go func() {
		runtime.LockOSThread()
		// A kernel that has no such table answers with a fault.
		debug.SetPanicOnFault(true)
		defer func() {
			if recover() != nil {
				answer <- -int32(unix.ENOSYS)
			}
		}()
		thread <- unix.Gettid()
		// A kernel without the 32-bit table faults instead.
		debug.SetPanicOnFault(true)
		defer func() {
			if recover() != nil {
				answer <- -int32(unix.ENOSYS)
			}
		}()
		answer <- int80(102, 1, addr(low))
	}()
	task := fmt.Sprintf("/proc/self/task/%d/status", <-thread)
	for {
		select {
		case r := <-answer:
			if r < 0 {
				return syscall.Errno(-r)
			}
			return nil
		default:
			// The first thread stays as a zombie.
			if b, err := os.ReadFile(task); err != nil || bytes.Contains(b, []byte("\nState:\tZ")) {
				return errors.New("the thread was killed")
			}
		}
	}
}
