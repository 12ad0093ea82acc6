package config

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Class is a session class as the settings give it. Zero limits are
// "unlimited", zero durations "never".
type Class struct {
	Name       string
	Runtime    string        // "" for the server's own (Config.Runtime), else one of Runtimes
	Base       string        // "host", or the name of an imported image
	CPU        float64       // cores at most
	CPUWeight  int           // share under contention, 1 to 10000; 100 is usual
	Memory     int64         // bytes
	PIDs       int           // processes and threads
	Files      int           // open files of a process
	PTYs       int           // terminals
	Inotify    int           // inotify watches
	IOWeight   int           // share of the disk under contention, 1 to 10000; 100 is usual
	Scratch    int64         // bytes of each of /tmp and /var/tmp
	Disk       int64         // bytes a user's home may hold
	Sudo       bool          // the person may become root inside
	Network    string        // NetworkAuto, none, internet or allow-list
	Allow      []string      // hosts, addresses and CIDRs, as station.NetworkPolicy has them
	IdleFreeze time.Duration // idle for so long: frozen
	IdleStop   time.Duration // idle for so long: asleep
	BuiltIn    bool          // as it comes: no setting makes it another
}

const (
	// StandardClass is the class that every other one starts from.
	StandardClass = "standard"
	// HardenedClass comes with the server, and needs gVisor's runsc.
	HardenedClass = "hardened"
	// NetworkAuto is internet where the server can make a way out, else none.
	NetworkAuto = "auto"
)

// Runtimes are the names a runtime goes by. process is no isolation at all.
var Runtimes = []string{"crun", "runc", "runsc", "docker", "podman", "process"}

// standard is the class a server has without any setting: one person may use
// most of a laptop, and a small server survives one careless session.
func standard(h Host) Class {
	memory := min(h.Memory/4*3, 16<<30)
	return Class{
		Name: StandardClass, Base: "host",
		CPUWeight: 100, Memory: memory, PIDs: 2048, Files: 65536, PTYs: 256, Inotify: 131072, IOWeight: 100,
		Scratch: min(memory/4, 4<<30), Network: NetworkAuto,
		IdleFreeze: 30 * time.Minute, IdleStop: 24 * time.Hour,
	}
}

// classSetting is the value of one field of one class, and who gave it.
type classSetting struct{ class, field, value, from string }

// parseClassSetting takes "NAME.FIELD=VALUE" apart. from is said in errors.
func parseClassSetting(s, from string) (classSetting, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return classSetting{}, fmt.Errorf("%s: want NAME.FIELD=VALUE (for example standard.memory=4g), not %+q", from, short(s))
	}
	return classKey(strings.TrimSpace(name), unquote(strings.TrimSpace(value)), from)
}

// classKey makes a setting of "NAME.FIELD" and its value.
func classKey(key, value, from string) (classSetting, error) {
	class, field, ok := strings.Cut(key, ".")
	if !ok {
		return classSetting{}, fmt.Errorf("%s: want NAME.FIELD=VALUE (for example standard.memory=4g), not %+q", from, short(key))
	}
	if !plainName(class) {
		return classSetting{}, fmt.Errorf("%s: the class name %+q is not usable: take 1 to 39 of a-z, 0-9 and -, not starting with -", from, short(class))
	}
	field = strings.ReplaceAll(field, "_", "-")
	if !slices.ContainsFunc(classFields, func(f classField) bool { return f.name == field }) {
		return classSetting{}, fmt.Errorf("%s: a class has no %+q; it has %s", from, short(field), strings.Join(ClassFields(), ", "))
	}
	return classSetting{class, field, value, from}, nil
}

// plainName is station.CheckName's pattern; this room imports nothing.
func plainName(s string) bool {
	return len(s) >= 1 && len(s) <= 39 && s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// short bounds hostile text in an error.
func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// classesFromEnv reads STAITHE_CLASS: settings with semicolons between them.
func classesFromEnv(text string) ([]classSetting, error) {
	var out []classSetting
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		s, err := parseClassSetting(part, EnvName("class"))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// makeClasses builds the classes: standard and what the settings say of it,
// hardened, then those that only the settings name, by name. Of two settings of
// a field the later wins.
func makeClasses(h Host, settings []classSetting) ([]Class, error) {
	of := map[string][]classSetting{}
	for _, s := range settings {
		of[s.class] = append(of[s.class], s)
	}
	build := func(from Class) (Class, error) {
		c := from
		for _, s := range of[c.Name] {
			if err := c.set(s); err != nil {
				return c, err
			}
		}
		c.BuiltIn = reflect.DeepEqual(c, from)
		delete(of, c.Name)
		return c, nil
	}
	first, err := build(standard(h))
	if err != nil {
		return nil, err
	}
	start := first
	start.BuiltIn = false
	hardened := start
	hardened.Name, hardened.Runtime = HardenedClass, "runsc"
	second, err := build(hardened)
	if err != nil {
		return nil, err
	}
	out := []Class{first, second}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		start.Name = name
		c, err := build(start)
		if err != nil {
			return nil, err
		}
		c.BuiltIn = false // somebody made it
		out = append(out, c)
	}
	return out, nil
}

// set gives a field its value. The error is a sentence that names both.
func (c *Class) set(s classSetting) error {
	for _, f := range classFields {
		if f.name != s.field {
			continue
		}
		if err := f.set(c, s.value); err != nil {
			return fmt.Errorf("%s: class.%s.%s: %w", s.from, s.class, s.field, err)
		}
		return nil
	}
	return fmt.Errorf("%s: a class has no %q", s.from, s.field)
}

// Class finds a class by name.
func (c *Config) Class(name string) (Class, bool) {
	for _, class := range c.Classes {
		if class.Name == name {
			return class, true
		}
	}
	return Class{}, false
}

// printClasses writes every class in the file's own form.
func (c *Config) printClasses(w io.Writer) error {
	for _, class := range c.Classes {
		for _, f := range classFields {
			if _, err := fmt.Fprintf(w, "class.%s.%s = %s\n", class.Name, f.name, f.get(&class)); err != nil {
				return err
			}
		}
	}
	return nil
}
