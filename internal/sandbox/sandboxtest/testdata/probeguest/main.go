// Command probeguest is a tiny guest for tests: it listens on descriptor 3,
// answers health, and runs commands as the person. Called as "guest probe NAME"
// it is the attack of that name, so that the abuse tests need no compiler and
// no tools in the sandbox.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/guestapi"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "probe" {
		probe(os.Args[2], os.Args[3:])
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "count" {
		if err := count(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "probeguest:", err)
			os.Exit(1)
		}
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "probeguest:", err)
		os.Exit(1)
	}
}

func serve() error {
	var config struct {
		Session string `json:"session"`
		Die     bool   `json:"die"` // for tests of failed starts
		Lie     string `json:"lie"` // see lies.go
		UID     int    `json:"uid"` // of the person; 0: as this process
	}
	config.UID = 1000
	if err := json.Unmarshal([]byte(os.Getenv("STAITHE_GUEST_CONFIG")), &config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if config.Die {
		return errors.New("told to die")
	}
	person = config.UID
	// As the real guest does; as PID 1 it changes nothing.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("subreaper: %w", err)
	}
	// As the real one: nobody in a sandbox looks into it, whatever their user.
	if os.Getpid() == 1 {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return fmt.Errorf("become non-dumpable: %w", err)
		}
	}
	// Signals that a gateway's terminal or service manager may send it.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	if config.Lie != "" {
		return lie(config.Lie)
	}
	l, err := listener()
	if err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/health", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"session": config.Session, "version": "probe"})
	})
	mux.HandleFunc("POST /run", run)
	mux.HandleFunc("POST /pipe", pipe)
	mux.HandleFunc("POST /log", floodLog)
	return http.Serve(l, mux)
}

// person is the uid and gid of what run runs; 0: this process's.
var person int

// order is what to run.
type order struct {
	Argv []string `json:"argv"`
	Root bool     `json:"root"` // as the guest itself, not as the person
}

// command makes a command of the order in a request.
func command(w http.ResponseWriter, r *http.Request) (*exec.Cmd, bool) {
	var in order
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Argv) == 0 {
		http.Error(w, "bad request", http.StatusBadRequest)
		return nil, false
	}
	cmd := exec.Command(in.Argv[0], in.Argv[1:]...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"}
	cmd.Dir = "/"
	if !in.Root {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if id := uint32(person); id != 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: id, Gid: id}
		}
	}
	return cmd, true
}

// run runs {"argv": […], "root": false} and answers {"out": "…", "code": 0}.
func run(w http.ResponseWriter, r *http.Request) {
	cmd, ok := command(w, r)
	if !ok {
		return
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	code := 0
	if err := cmd.Run(); err != nil {
		code = -1
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else {
			fmt.Fprintln(&out, err)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"out": out.String(), "code": code})
}

// pipe runs a command whose input and output the connection becomes, after an
// answer without a body.
func pipe(w http.ResponseWriter, r *http.Request) {
	cmd, ok := command(w, r)
	if !ok {
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	cmd.Stdout, cmd.Stderr = conn, os.Stderr
	in, err := cmd.StdinPipe() // not Stdin: when the command ends, so does the connection
	if err == nil {
		go func() { _, _ = io.Copy(in, rw); in.Close() }()
		err = cmd.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "probeguest:", err)
	}
}

// floodLog writes to the guest's log as much as the query asks for, in bytes, and
// then the query's last words.
func floodLog(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("bytes"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	line := bytes.Repeat([]byte("x"), 1<<16)
	line[len(line)-1] = '\n'
	for ; n > 0 && err == nil; n -= len(line) {
		_, err = os.Stderr.Write(line)
	}
	if err == nil {
		_, err = io.WriteString(os.Stderr, r.URL.Query().Get("last")+"\n")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// listener is the inherited socket, one that is fetched, or one of the guest's
// own making.
func listener() (net.Listener, error) {
	if path := os.Getenv(guestapi.ListenEnv); path != "" {
		return net.Listen("unix", path)
	}
	var file *os.File
	if path := os.Getenv(guestapi.SocketEnv); path != "" {
		var err error
		if file, err = guestapi.TakeSocket(path); err != nil {
			return nil, err
		}
	} else {
		file = os.NewFile(guestapi.ListenFD, "listener")
	}
	defer file.Close()
	return net.FileListener(file)
}
