//go:build !amd64

package main

import "errors"

func socketcall32([]string) error { return errors.New("no 32-bit table here") }
