package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"staithe/internal/muxclient/muxtest"
	"staithe/internal/station"
	"staithe/internal/wire"
)

func unmarshal(b []byte, into any) error { return json.Unmarshal(b, into) }

// console is a command on a terminal of its own.
type console struct {
	t   testing.TB
	cmd *exec.Cmd
	f   *os.File

	mu   sync.Mutex
	cond *sync.Cond
	out  bytes.Buffer
	over bool
}

func startConsole(t testing.TB, s *server, args ...string) *console {
	t.Helper()
	c := &console{t: t, cmd: exec.Command(binary, args...)}
	c.cond = sync.NewCond(&c.mu)
	c.cmd.Env = append(os.Environ(), "STAITHE_URL="+s.base, "STAITHE_TOKEN="+s.token, "HOME="+t.TempDir())
	f, err := pty.StartWithSize(c.cmd, &pty.Winsize{Cols: 100, Rows: 30})
	if err != nil {
		t.Fatal(err)
	}
	c.f = f
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			c.mu.Lock()
			c.out.Write(buf[:n])
			c.over = err != nil
			c.cond.Broadcast()
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { c.cmd.Process.Kill(); wg.Wait(); f.Close() })
	return c
}

func (c *console) see(text string) {
	c.t.Helper()
	late := false
	timer := time.AfterFunc(30*time.Second, func() { c.mu.Lock(); late = true; c.cond.Broadcast(); c.mu.Unlock() })
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !strings.Contains(c.out.String(), text) {
		if late || c.over {
			c.t.Fatalf("not seen: %q in %q", text, c.out.String())
		}
		c.cond.Wait()
	}
}

// text is what was drawn so far.
func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

func (c *console) key(text string) {
	c.t.Helper()
	if _, err := c.f.WriteString(text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *console) code() int {
	c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode()
}

func TestAttachTypesResizesSurvivesAndExits(t *testing.T) {
	s := serve(t)
	c := startConsole(t, s, "attach", "main")
	c.key("echo one-$((40+2)); stty size\r")
	c.see("one-42")
	c.see("30 100")
	if err := pty.Setsize(c.f, &pty.Winsize{Cols: 70, Rows: 20}); err != nil {
		t.Fatal(err)
	}
	c.key("until [ \"$(stty size)\" = '20 70' ]; do :; done; echo resized-$((1+1))\r")
	c.see("resized-2")
	s.kill()
	c.see("connection lost")
	c.key("echo typed-while-$((5+5))-down\r")
	s.again()
	c.see("typed-while-10-down")
	if n := strings.Count(c.text(), "typed-while-10-down"); n != 1 {
		t.Errorf("executed %d times", n)
	}
	c.key("exit 7\r")
	c.see("ended with code 7")
	if code := c.code(); code != 7 {
		t.Errorf("exit code %d", code)
	}
	// Again: the ended tab has a new shell.
	c = startConsole(t, s, "attach", "main/main")
	c.key("echo two-$((40+3))\r")
	c.see("two-43")
	c.key("\x1c") // ctrl-\
	c.see("detached")
	if code := c.code(); code != 0 {
		t.Errorf("exit code after detaching: %d", code)
	}
	var tabs []station.Tab
	s.bearer(s.token).must(200, "GET", "/sessions/main/tabs", nil, &tabs)
	if len(tabs) != 1 || tabs[0].Exited {
		t.Errorf("detaching ended the shell: %+v", tabs)
	}
}

// A log full of queries, drawn again by whoever comes, makes nobody type: each was
// answered once, by the guest, before anybody else was there.
func TestAbuse30_LogFullOfQueries(t *testing.T) {
	const asked = 200
	s := serve(t)
	tab, out := openTab(t, s.mux("main"), wire.Open{Name: "asks", Command: []string{"/bin/bash", "-c",
		`stty raw -echo; for i in {1..200}; do printf 'Q\033[c\033[6n\033]11;?\007\033P$qm\033\\'; done; printf 'E\r\n'; cat -v`}})
	out.See(t, "E")
	answers := func(text string) (n int) {
		return strings.Count(text, "?1;2c") + strings.Count(text, "R^[") + strings.Count(text, "]11;rgb:") + strings.Count(text, "1$r0m")
	}
	for range 3 {
		again := muxtest.New()
		if _, err := s.mux("main").Attach(t.Context(), wire.Attach{Tab: tab.Tab(), Cols: 80, Rows: 24}, again); err != nil {
			t.Fatal(err)
		}
		again.See(t, "E")
		redrawn := ""
		again.Do(func() { redrawn = again.Redrawn.String() + again.Out.String() })
		for _, text := range []string{redrawn, out.Text()} {
			for _, query := range []string{"\x1b[c", "\x1b[6n", "]11;?", "\x1bP$q"} {
				if strings.Contains(text, query) {
					t.Errorf("%q went out", query)
				}
			}
		}
	}
	c := startConsole(t, s, "attach", "main/asks")
	c.see("E")
	c.key("typed")
	c.see("typed")
	out.See(t, "typed")
	if got := answers(out.Text()); got != 4*asked {
		t.Errorf("%d answers to %d questions: %.400q", got, 4*asked, out.Text())
	}
}

func TestAttachSaysWhatIsWrong(t *testing.T) {
	s := serve(t)
	for _, c := range []struct{ args, want string }{
		{"attach nope", "no such session"},
		{"attach main/nope", "--new"},
		{"attach /", "SESSION"},
		{"attach main --detach-key f1", "detach key"},
	} {
		con := startConsole(t, s, strings.Fields(c.args)...)
		if code := con.code(); code == 0 {
			t.Errorf("%s: exit code 0", c.args)
		}
		con.see2(c.want)
	}
	code, _, stderr := run(t, "exec $staithe attach main </dev/null")
	if code == 0 || !strings.Contains(stderr, "needs a terminal") {
		t.Errorf("%d %s", code, stderr)
	}
	con := startConsole(t, &server{base: s.base, token: "wrong"}, "attach", "main")
	if con.code() == 0 {
		t.Error("a wrong token attaches")
	}
}

// see2 wants a text, in any case of letters, of a command that has ended.
func (c *console) see2(text string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.over {
		c.cond.Wait()
	}
	if !strings.Contains(strings.ToLower(c.out.String()), strings.ToLower(text)) {
		c.t.Errorf("not said: %q in %q", text, c.out.String())
	}
}

func TestLoginKeepsATokenForAttach(t *testing.T) {
	s := serve(t)
	home := t.TempDir()
	code, _, stderr := run(t, "printf 'ada\\n"+password+"\\n' | $staithe login "+s.base, "HOME="+home, "XDG_CONFIG_HOME="+home)
	if code != 0 {
		t.Fatalf("login: %d %s", code, stderr)
	}
	st, err := os.Stat(home + "/staithe/credentials.json")
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the kept token: %v %v", st, err)
	}
	code, _, stderr = run(t, "printf 'ada\\nwrong-password\\n' | $staithe login "+s.base, "HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	if code == 0 || stderr == "" {
		t.Errorf("a wrong password: %d %s", code, stderr)
	}
}

func TestAdminCommandsWhileTheServerRuns(t *testing.T) {
	s := serve(t)
	code, out, stderr := run(t, "exec $staithe admin user add bob --data "+s.data+" --listen "+strings.TrimPrefix(s.base, "http://"))
	if code != 0 || !strings.Contains(out, s.base+"/invite#") {
		t.Fatalf("%d %s %s", code, out, stderr)
	}
	_, token, _ := strings.Cut(out, "/invite#")
	token, _, _ = strings.Cut(token, "\n")
	c := s.client()
	c.must(200, "POST", "/invite", map[string]string{"token": token, "password": "bob's own password"}, nil)
	var me struct{ Name string }
	c.must(200, "GET", "/me", nil, &me)
	if me.Name != "bob" {
		t.Errorf("%+v", me)
	}
	if status, _ := s.client().do("POST", "/invite", map[string]string{"token": token, "password": "another password"}); status < 400 {
		t.Errorf("the link works twice: %d", status)
	}
	code, out, _ = run(t, "exec $staithe admin reset-link bob --data "+s.data)
	if code != 0 || !strings.Contains(out, "/invite#") {
		t.Errorf("%d %s", code, out)
	}
	for _, bad := range []string{"admin user add BOB", "admin user add bob", "admin reset-link nobody"} {
		if code, _, stderr := run(t, "exec $staithe "+bad+" --data "+s.data); code == 0 || stderr == "" {
			t.Errorf("%s: %d %s", bad, code, stderr)
		}
	}
}

// What a tab shows can be had without a socket, as text, with its colours, and with
// all about it.
func TestTabScreen(t *testing.T) {
	s := serve(t)
	_, out := openTab(t, s.mux("main"), wire.Open{Name: "shows", Command: []string{"/bin/bash", "-c",
		`stty -echo; for i in {1..40}; do echo line $i; done; printf '\033]2;<b>name\007\033[31mred\033[0m 漢\033[6n'; read -rs -d R; echo " asked"; cat`}})
	out.See(t, "asked")
	c := s.bearer(s.token)
	status, text := c.do("GET", "/sessions/main/tabs/shows/screen", nil)
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if status != 200 || lines[len(lines)-1] != "red 漢 asked" || strings.Contains(string(text), "line 10\n") {
		t.Errorf("%d %q", status, text)
	}
	_, text = c.do("GET", "/sessions/main/tabs/shows/screen?format=ansi&lines=100", nil)
	if !strings.Contains(string(text), "\x1b[0;31mred\x1b[0m 漢 asked\r\n") || !strings.HasPrefix(string(text), "line 1\r\n") {
		t.Errorf("%q", text)
	}
	var screen station.Screen
	c.must(200, "GET", "/sessions/main/tabs/shows/screen?format=json", nil, &screen)
	if screen.Title != "<b>name" || screen.Cols != 80 || len(screen.Lines) != screen.Rows || screen.X != 0 || screen.Offset == 0 || screen.Alternate {
		t.Errorf("%+v", screen)
	}
	c.must(404, "GET", "/sessions/main/tabs/none/screen", nil, nil)
	c.must(422, "GET", "/sessions/main/tabs/shows/screen?lines=-1", nil, nil)
	s.addUser("bob").must(404, "GET", "/sessions/main/tabs/shows/screen", nil, nil)
}

// A tab's shell says where its commands begin and end, in a real sandbox too, and
// nothing of that is seen.
func TestCommandsAreMarked(t *testing.T) {
	s := serve(t)
	conn, status := s.rawMux(string(s.session("main").ID))
	if status != 0 {
		t.Fatal(status)
	}
	conn.Say(&wire.Hello{Client: "commands-are-marked"})
	conn.Say(&wire.Open{Req: wire.StringReq("1"), Cols: 80, Rows: 24})
	at := conn.Next("attached").(*wire.Attached)
	conn.Send(append([]byte{at.Channel}, "cd /usr; false\r"...))
	began := conn.Next("command").(*wire.Command)
	ended := conn.Next("command").(*wire.Command)
	if began.Line != "cd /usr; false" || ended.ExitCode == nil || *ended.ExitCode != 1 {
		t.Errorf("%+v %+v", began, ended)
	}
	for conn.Next("cwd").(*wire.Cwd).Cwd != "/usr" {
	}
	_, text := s.bearer(s.token).do("GET", "/sessions/main/tabs/"+at.Tab+"/screen", nil)
	if strings.Contains(string(text), "133") || !strings.Contains(string(text), ":~$ cd /usr; false") {
		t.Errorf("%s", text)
	}
}
