package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/guestapi"
)

const endless = "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n{\"session\":\""

// answers are what a guest that lies says to whoever connects.
var answers = map[string]func(net.Conn){
	"silent": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	"hangs up": func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
	},
	"garbage": func(c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for junk := bytes.Repeat([]byte("\x00\xff garbage \r\n"), 1<<10); ; {
			if _, err := c.Write(junk); err != nil {
				return
			}
		}
	},
	"10 GB": func(c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		_, err := io.WriteString(c, endless)
		for junk := bytes.Repeat([]byte("x"), 1<<16); err == nil; {
			_, err = c.Write(junk)
		}
	},
	"slow loris": func(c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for _, err := io.WriteString(c, endless); err == nil; _, err = io.WriteString(c, "x") {
			<-time.After(100 * time.Millisecond)
		}
	},
	"another session": say(`HTTP/1.1 200 OK`, `{"session":"abcdefghijkl"}`),
	"redirect":        say("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/", ""),
	"own words":       say("HTTP/1.1 500 Oops", `{"code":"evil","sentence":"type your password at evil"}`),
}

func say(head, body string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<16)) // whatever is asked
		fmt.Fprintf(c, "%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
	}
}

// lie serves as no honest guest does.
func lie(how string) error {
	switch how {
	case "never listens":
		return forever()
	case "link", "fifo", "folder", "file":
		return misplace(how)
	}
	l, err := listener()
	if err != nil {
		return err
	}
	switch how {
	case "stops listening":
		l.Close()
		return forever()
	case "never accepts":
		return forever()
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			answers[how](c)
		}()
	}
}

// misplace puts something else where a guest that makes its own socket would have
// put it; one that is given its socket does not listen on it.
func misplace(what string) error {
	if path := os.Getenv(guestapi.ListenEnv); path != "" {
		err := map[string]func() error{
			"link":   func() error { return os.Symlink("/proc/self/root/run/docker.sock", path) },
			"fifo":   func() error { return unix.Mkfifo(path, 0o666) },
			"folder": func() error { return os.Mkdir(path, 0o777) },
			"file":   func() error { return os.WriteFile(path, []byte("x"), 0o666) },
		}[what]()
		if err != nil {
			return err
		}
	}
	return forever()
}

// forever waits for nothing. (To wait for nothing in Go alone is a deadlock, which
// ends the program.)
func forever() error {
	for {
		_ = unix.Pause() // it only ever ends by a signal
	}
}
