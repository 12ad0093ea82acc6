// Package config is how staithe is told what to do: one struct, each field
// registered once, and for each field flag > environment > file > default.
//
// A Loader is for one goroutine; the Config it returns is a plain value.
package config

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Config is everything a server is told. Zero is not usable: Load fills it.
type Config struct {
	Listen         string         // host:port
	Data           string         // directory, absolute
	URL            string         // public origin without a path, "" for the loopback address alone
	Runtime        string         // auto, or one of Runtimes
	TrustedProxies []netip.Prefix // whose X-Forwarded-For counts
	LogLevel       slog.Level
	LogFormat      string // text or json
	DevPage        string // origin of a Vite dev server that serves the page; "" for the built one
	DefaultClass   string // of sessions that name none; one of Classes
	NetworkPath    string // auto or userspace: how packets of sessions get out
	Classes        []Class
	S3             S3     // where backups go; without a bucket: into the data directory
	Backups        string // on or off
	BackupKeep     Keep
	HomeTemplate   string // what new homes begin with; "": the host's /etc/skel
	DiskReserve    int64  // bytes of the disk kept free for the server; 0: none, -1: 5 %, 2 GiB at most
}

// field is one setting: its flag is --name, its variable STAITHE_NAME, its key
// in the file name. A secret has no flag: arguments can be seen by all.
type field struct {
	name, usage string
	env         string // the variable where it is another
	fallback    func(getenv func(string) string) string
	secret      bool // printed as (hidden)
	set         func(*Config, string) error
	get         func(*Config) string
}

func fixed(s string) func(func(string) string) string {
	return func(func(string) string) string { return s }
}

// fields is the one place where a setting is made known.
var fields = append([]field{
	{name: "listen", usage: "address to listen on, `host:port`", fallback: fixed("127.0.0.1:8080"),
		set: setListen, get: func(c *Config) string { return c.Listen }},
	{name: "data", usage: "`directory` that holds everything staithe keeps", fallback: defaultData,
		set: setData, get: func(c *Config) string { return c.Data }},
	{name: "disk-reserve", usage: "`size` of the disk kept free for the server: who fills the rest is stopped; auto (5 %, 2g at most), or 0 for none", fallback: fixed("auto"),
		set: setReserve, get: reserve},
	{name: "url", usage: "public `origin`, https://host; needed beyond loopback", fallback: fixed(""),
		set: setOrigin(func(c *Config) *string { return &c.URL }), get: func(c *Config) string { return c.URL }},
	{name: "runtime", usage: "sandbox runtime: auto (crun, else runc), " + strings.Join(Runtimes[:len(Runtimes)-1], ", ") + ", or process: no isolation",
		fallback: fixed("auto"), set: oneOf(func(c *Config) *string { return &c.Runtime }, append([]string{"auto"}, Runtimes...)...),
		get: func(c *Config) string { return c.Runtime }},
	{name: "default-class", usage: "`class` of a session that names none", fallback: fixed(StandardClass),
		set: setDefaultClass, get: func(c *Config) string { return c.DefaultClass }},
	{name: "network-path", usage: "how packets of sessions with network = internet get out: userspace, or auto: forwarded by the kernel where the server is root and the host forwards unfiltered",
		fallback: fixed("userspace"), set: oneOf(func(c *Config) *string { return &c.NetworkPath }, "auto", "userspace"),
		get: func(c *Config) string { return c.NetworkPath }},
	{name: "trusted-proxies", usage: "comma-separated `CIDRs` of proxies whose X-Forwarded-For counts", fallback: fixed(""),
		set: setProxies, get: proxies},
	{name: "log-level", usage: "debug, info, warn or error", fallback: fixed("info"),
		set: func(c *Config, s string) error { return c.LogLevel.UnmarshalText([]byte(s)) },
		get: func(c *Config) string { return strings.ToLower(c.LogLevel.String()) }},
	{name: "log-format", usage: "text or json", fallback: fixed("text"),
		set: oneOf(func(c *Config) *string { return &c.LogFormat }, "text", "json"), get: func(c *Config) string { return c.LogFormat }},
	{name: "dev-page", usage: "`origin` of a Vite dev server to take the page from", fallback: fixed(""),
		set: setOrigin(func(c *Config) *string { return &c.DevPage }), get: func(c *Config) string { return c.DevPage }},
	{name: "home-template", usage: "what new homes begin with: the absolute `path` of a folder or archive, https://… of a .tar, .tar.gz, .tar.zst or .zip, or git+https://… of a repository; left out: the host's /etc/skel alone", fallback: fixed(""),
		set: setWord(func(c *Config) *string { return &c.HomeTemplate }), get: func(c *Config) string { return c.HomeTemplate }},
}, backupFields...)

func (f field) variable() string {
	if f.env != "" {
		return f.env
	}
	return EnvName(f.name)
}

// EnvName is the environment variable of a setting.
func EnvName(name string) string {
	return "STAITHE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Loader collects what the flags said until Load puts everything together.
type Loader struct {
	file    given
	flags   map[string]*given
	classes []string // every --class
	host    Host
}

// given is a flag's value that knows whether it was given; flag.FlagSet.Visit
// does not know when cobra did the parsing.
type given struct {
	value string
	isSet bool
}

func (g *given) String() string { return g.value }

func (g *given) Set(s string) error {
	g.value, g.isSet = s, true
	return nil
}

// givenMany is a flag that may be given again.
type givenMany []string

func (g *givenMany) String() string { return strings.Join(*g, "; ") }

func (g *givenMany) Set(s string) error {
	*g = append(*g, s)
	return nil
}

// Register adds --config and one flag per setting to fs, which the caller
// parses (or hands to cobra with AddGoFlagSet) before Load.
func Register(fs *flag.FlagSet) *Loader {
	l := &Loader{flags: map[string]*given{}, host: readHost("")}
	fs.Var(&l.file, "config", "`file` of settings, one \"name = value\" a line")
	fs.Var((*givenMany)(&l.classes), "class", "a field of a session class, `NAME.FIELD=VALUE` (standard.memory=4g); may be given again; the fields are "+
		strings.Join(ClassFields(), ", ")+" ("+EnvName("class")+", with semicolons between)")
	for _, f := range fields {
		if f.secret {
			continue
		}
		g := &given{}
		l.flags[f.name] = g
		usage := f.usage + " (" + f.variable()
		if def := f.fallback(func(string) string { return "" }); def != "" && f.name != "data" {
			usage += ", default " + def
		}
		fs.Var(g, f.name, usage+")")
	}
	return l
}

// Load puts flags, environment, file and defaults together and checks them.
// Every error is a sentence that names the setting and where it came from.
func (l *Loader) Load(getenv func(string) string) (Config, error) {
	var c Config
	var file settings
	path := l.file.value
	if !l.file.isSet {
		path = getenv(EnvName("config"))
	}
	if path != "" {
		var err error
		if file, err = readFile(path); err != nil {
			return c, err
		}
	}
	for _, f := range fields {
		value, from := f.fallback(getenv), "the default"
		if v, ok := file.values[f.name]; ok {
			value, from = v, path
		}
		if v := getenv(f.variable()); v != "" {
			value, from = v, f.variable()
		}
		if g := l.flags[f.name]; g != nil && g.isSet {
			value, from = g.value, "--"+f.name
		}
		if err := f.set(&c, value); err != nil {
			return c, fmt.Errorf("%s: %w", from, err)
		}
	}
	if err := l.loadClasses(&c, file.classes, getenv); err != nil {
		return c, err
	}
	return c, c.check()
}

// loadClasses makes the classes of file, environment and flags; a later one of
// these wins.
func (l *Loader) loadClasses(c *Config, file []classSetting, getenv func(string) string) error {
	env, err := classesFromEnv(getenv(EnvName("class")))
	if err != nil {
		return err
	}
	all := append(file, env...)
	for _, text := range l.classes {
		s, err := parseClassSetting(text, "--class")
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	c.Classes, err = makeClasses(l.host, all)
	return err
}

// check refuses combinations that no single field can see.
func (c *Config) check() error {
	if _, ok := c.Class(c.DefaultClass); !ok {
		return fmt.Errorf("default-class is %+q, and there is no such class: set a field of it (class.%s.memory = 4g), or choose another", c.DefaultClass, c.DefaultClass)
	}
	if c.URL == "" && !c.Loopback() {
		return fmt.Errorf("listening on %s lets others in, but the public address is not known: set --url (for example --url https://staithe.example.org), or listen on 127.0.0.1", c.Listen)
	}
	return c.S3.check()
}

// Loopback reports whether only this host can reach Listen.
func (c *Config) Loopback() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Print writes the settings in the file's own form, secrets hidden.
func (c *Config) Print(w io.Writer) error {
	for _, f := range fields {
		value := f.get(c)
		if f.secret && value != "" {
			value = "(hidden)"
		}
		if _, err := fmt.Fprintf(w, "%s = %s\n", f.name, value); err != nil {
			return err
		}
	}
	return c.printClasses(w)
}

// settings is what a file says.
type settings struct {
	values  map[string]string
	classes []classSetting
}

// readFile reads "name = value" lines; # starts a comment line, and a value
// may stand in double quotes.
func readFile(path string) (settings, error) {
	out := settings{values: map[string]string{}}
	file, err := os.Open(path)
	if err != nil {
		return out, fmt.Errorf("the settings file cannot be read: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := out.add(line, fmt.Sprintf("%s line %d", path, n)); err != nil {
			return out, err
		}
	}
	return out, lines.Err()
}

// add takes one line. from is said in errors.
func (s *settings) add(line, from string) error {
	name, value, ok := strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), unquote(strings.TrimSpace(value))
	if key, isClass := strings.CutPrefix(name, "class."); ok && isClass {
		set, err := classKey(key, value, from)
		if err != nil {
			return err
		}
		for _, other := range s.classes {
			if other.class == set.class && other.field == set.field {
				return fmt.Errorf("%s: class.%s.%s is set twice", from, set.class, set.field)
			}
		}
		s.classes = append(s.classes, set)
		return nil
	}
	name = strings.ReplaceAll(name, "_", "-")
	if !ok || !slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
		return fmt.Errorf("%s: want \"name = value\" with a known name, as staithe serve --help lists them", from)
	}
	if _, twice := s.values[name]; twice {
		return fmt.Errorf("%s: %s is set twice", from, name)
	}
	s.values[name] = value
	return nil
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func defaultData(getenv func(string) string) string {
	if os.Geteuid() == 0 {
		return "/var/lib/staithe"
	}
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) { // the XDG spec ignores relative ones
		return filepath.Join(dir, "staithe")
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "staithe")
	}
	return ""
}

func setListen(c *Config, s string) error {
	if _, _, err := net.SplitHostPort(s); err != nil {
		return fmt.Errorf("%q is not host:port (for example 127.0.0.1:8080)", s)
	}
	c.Listen = s
	return nil
}

func setData(c *Config, s string) error {
	if s == "" {
		return errors.New("there is no data directory: give one with --data")
	}
	abs, err := filepath.Abs(s)
	c.Data = abs
	return err
}

// setOrigin takes scheme://host[:port] and nothing else: an origin with a path
// would silently match no browser's Origin header.
func setOrigin(at func(*Config) *string) func(*Config, string) error {
	return func(c *Config, s string) error {
		if s == "" {
			*at(c) = ""
			return nil
		}
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
			(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return fmt.Errorf("%q is not an origin (for example https://staithe.example.org)", s)
		}
		*at(c) = u.Scheme + "://" + strings.ToLower(u.Host)
		return nil
	}
}

func oneOf(at func(*Config) *string, choices ...string) func(*Config, string) error {
	return func(c *Config, s string) error {
		for _, choice := range choices {
			if s == choice {
				*at(c) = s
				return nil
			}
		}
		return fmt.Errorf("%q is not one of %s", s, strings.Join(choices, ", "))
	}
}

func setDefaultClass(c *Config, s string) error {
	if !plainName(s) {
		return fmt.Errorf("%+q is not the name of a class", short(s))
	}
	c.DefaultClass = s
	return nil
}

func setReserve(c *Config, s string) error {
	switch s {
	case "auto":
		c.DiskReserve = -1
	case "0":
		c.DiskReserve = 0
	default:
		n, err := ParseSize(s)
		if err == nil && n == 0 {
			err = fmt.Errorf("%q is no reserve; 0 is none", s)
		}
		c.DiskReserve = n
		return err
	}
	return nil
}

func reserve(c *Config) string {
	switch c.DiskReserve {
	case -1:
		return "auto"
	case 0:
		return "0"
	}
	return FormatSize(c.DiskReserve)
}

func setProxies(c *Config, s string) error {
	c.TrustedProxies = nil
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			addr, aerr := netip.ParseAddr(part)
			if aerr != nil {
				return fmt.Errorf("%q is not an address or CIDR (for example 10.0.0.0/8)", part)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix.Masked())
	}
	return nil
}

func proxies(c *Config) string {
	var out []string
	for _, p := range c.TrustedProxies {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}
