package config

import (
	"bytes"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func load(t *testing.T, env map[string]string, args ...string) (Config, error) {
	t.Helper()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	l := Register(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	if env["HOME"] == "" {
		env["HOME"] = "/home/ada"
	}
	return l.Load(func(k string) string { return env[k] })
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "staithe.conf")
	text := "# comment\nlisten = 127.0.0.1:1\nlog_level = \"debug\"\nruntime = runc\n\nlog-format=json\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"STAITHE_LISTEN": "127.0.0.1:2", "STAITHE_RUNTIME": "crun"}
	c, err := load(t, env, "--config", file, "--listen", "127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:3" || c.Runtime != "crun" || c.LogLevel != slog.LevelDebug || c.LogFormat != "json" || c.URL != "" {
		t.Errorf("%+v", c)
	}
	if !filepath.IsAbs(c.Data) {
		t.Errorf("data %q", c.Data)
	}
}

func TestPrintIsReadAgain(t *testing.T) {
	c, err := load(t, map[string]string{}, "--url", "https://Box.example.org/", "--listen", ":8080", "--trusted-proxies", "10.1.2.3/8, ::1")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := load(t, map[string]string{"STAITHE_CONFIG": file})
	if err != nil || again.URL != "https://box.example.org" || proxies(&again) != "10.0.0.0/8,::1/128" {
		t.Errorf("%v from\n%s", err, &out)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ flag, value, says string }{
		{"--listen", "8080", "host:port"},
		{"--listen", "0.0.0.0:8080", "set --url"},
		{"--listen", ":8080", "set --url"},
		{"--listen", "192.0.2.1:80", "set --url"},
		{"--url", "box.example.org", "origin"},
		{"--url", "https://box.example.org/path", "origin"},
		{"--url", "https://user@box.example.org", "origin"},
		{"--runtime", "lxc", "one of"},
		{"--log-level", "loud", "--log-level"},
		{"--log-format", "xml", "one of"},
		{"--trusted-proxies", "proxy", "CIDR"},
		{"--config", "/nonexistent", "settings file"},
	} {
		_, err := load(t, map[string]string{}, c.flag, c.value)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v, want it to say %q", c.flag, c.value, err, c.says)
		}
	}
	for _, text := range []string{"colour = red", "listen", "listen = 127.0.0.1:1\nlisten = 127.0.0.1:2"} {
		file := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(t, map[string]string{}, "--config", file); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestLoopbackNeedsNoURL(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:8080", "localhost:80", "127.9.9.9:1"} {
		if c, err := load(t, map[string]string{}, "--listen", listen); err != nil || !c.Loopback() {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

// FuzzFile: any file is settings that print and load again to the same, or a
// sentence; never a panic.
func FuzzFile(f *testing.F) {
	f.Add("listen = 127.0.0.1:9000\n# a comment\ndata = \"/srv/staithe\"\n")
	f.Add("class.ci.memory = 1.5g\nclass.ci.allow = *.example.net:443, 10.0.0.0/8\nclass.standard.cpu=0.5\nclass.ci.idle_stop = 90m\n")
	f.Add("class.hardened.disk = unlimited\ndefault-class = hardened\nclass.x.sudo = yes\nclass.x.base = debian:12\nclass.x.runtime = default\n")
	f.Add("trusted-proxies = 10.0.0.0/8, ::1/128\nurl = https://example.org\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "config")
		read := func(text string) (Config, error) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			l := Register(fs)
			if err := fs.Parse([]string{"--config", path}); err != nil {
				t.Fatal(err)
			}
			return l.Load(func(string) string { return "" })
		}
		c, err := read(text)
		if err != nil {
			return
		}
		var printed strings.Builder
		if err := c.Print(&printed); err != nil {
			t.Fatal(err)
		}
		again, err := read(printed.String())
		if err != nil {
			t.Fatalf("%q prints what does not load: %v\n%s", text, err, printed.String())
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("%q loads again as another:\n%+v\n%+v", text, c, again)
		}
	})
}
