package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"staithe/internal/station"
)

func loginCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "login [URL]",
		Short: "Sign this machine in to a server",
		Long: `Ask for your user name and password, and keep an API token for this machine.
URL is the server's address; http://127.0.0.1:8080 if left out.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			base := "http://127.0.0.1:8080"
			if len(args) > 0 {
				base = args[0]
			}
			return login(cmd.Context(), base, os.Stdin, cmd.ErrOrStderr())
		},
	}
}

func login(ctx context.Context, base string, in *os.File, say io.Writer) error {
	a, err := newAPI(base, "")
	if err != nil {
		return err
	}
	name, password, err := askPassword(in, say)
	if err != nil {
		return err
	}
	if err := a.call(ctx, "POST", "/login", map[string]string{"username": name, "password": password}, nil); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "command line"
	}
	var token struct{ Token string }
	err = a.call(ctx, "POST", "/tokens", map[string]any{"name": "staithe on " + host, "scopes": []string{"*"}}, &token)
	if err := errors.Join(err, a.call(ctx, "POST", "/logout", nil, nil)); err != nil {
		return err
	}
	path, err := credentialsPath()
	if err != nil {
		return err
	}
	b, err := json.Marshal(credentials{URL: a.base, Token: token.Token})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	if err := writeWhole(path, b); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	fmt.Fprintf(say, "Signed in to %s as %s. `staithe attach main` opens your shell.\n", a.base, name)
	return nil
}

// askPassword asks on a terminal, without echo, or takes two lines from a pipe.
func askPassword(in *os.File, say io.Writer) (name, password string, err error) {
	lines := bufio.NewReader(in)
	line := func() (string, error) {
		s, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) && s != "" {
			err = nil
		}
		return strings.TrimRight(s, "\r\n"), err
	}
	fmt.Fprint(say, "User name: ")
	if name, err = line(); err == nil {
		fmt.Fprint(say, "Password: ")
		if term.IsTerminal(int(in.Fd())) {
			var b []byte
			b, err = term.ReadPassword(int(in.Fd()))
			password = string(b)
			fmt.Fprintln(say)
		} else {
			password, err = line()
		}
	}
	if err != nil {
		return "", "", station.Errorf(station.ErrInvalid, "no_password", "No user name and password were given; type them, or pipe in two lines.").Because(err)
	}
	return name, password, nil
}
