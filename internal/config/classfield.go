package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// classField is one field of a class: class.NAME.name in the file.
type classField struct {
	name string
	set  func(*Class, string) error
	get  func(*Class) string
}

// classFields is the one place where a field of a class is made known.
var classFields = []classField{
	{"runtime", setRuntime, func(c *Class) string { return orElse(c.Runtime, "default") }},
	{"base", setBase, func(c *Class) string { return c.Base }},
	{"memory", setSize(func(c *Class) *int64 { return &c.Memory }, 16<<20), func(c *Class) string { return FormatSize(c.Memory) }},
	{"cpu", setCPU, func(c *Class) string { return orElse(formatFloat(c.CPU), unlimited) }},
	{"cpu-weight", setWeight(func(c *Class) *int { return &c.CPUWeight }), func(c *Class) string { return strconv.Itoa(c.CPUWeight) }},
	{"io-weight", setWeight(func(c *Class) *int { return &c.IOWeight }), func(c *Class) string { return strconv.Itoa(c.IOWeight) }},
	{"pids", setCount(func(c *Class) *int { return &c.PIDs }, 16), func(c *Class) string { return formatCount(c.PIDs) }},
	{"files", setCount(func(c *Class) *int { return &c.Files }, 64), func(c *Class) string { return formatCount(c.Files) }},
	{"ptys", setCount(func(c *Class) *int { return &c.PTYs }, 1), func(c *Class) string { return formatCount(c.PTYs) }},
	{"inotify", setCount(func(c *Class) *int { return &c.Inotify }, 1), func(c *Class) string { return formatCount(c.Inotify) }},
	{"scratch", setSize(func(c *Class) *int64 { return &c.Scratch }, 1<<20), func(c *Class) string { return FormatSize(c.Scratch) }},
	{"disk", setSize(func(c *Class) *int64 { return &c.Disk }, 1<<20), func(c *Class) string { return FormatSize(c.Disk) }},
	{"sudo", setSudo, func(c *Class) string { return map[bool]string{true: "yes", false: "no"}[c.Sudo] }},
	{"network", setNetwork, func(c *Class) string { return c.Network }},
	{"allow", setAllow, func(c *Class) string { return strings.Join(c.Allow, ", ") }},
	{"idle-freeze", setIdle(func(c *Class) *time.Duration { return &c.IdleFreeze }), func(c *Class) string { return FormatDuration(c.IdleFreeze) }},
	{"idle-stop", setIdle(func(c *Class) *time.Duration { return &c.IdleStop }), func(c *Class) string { return FormatDuration(c.IdleStop) }},
}

const (
	unlimited = "unlimited"
	never     = "never"
)

// ClassFields are the names of a class's fields, in the order they are printed.
func ClassFields() []string {
	var out []string
	for _, f := range classFields {
		out = append(out, f.name)
	}
	return out
}

func orElse(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

func setRuntime(c *Class, s string) error {
	if s == "default" {
		c.Runtime = ""
		return nil
	}
	if !slices.Contains(Runtimes, s) {
		return fmt.Errorf("%+q is not one of default, %s", short(s), strings.Join(Runtimes, ", "))
	}
	c.Runtime = s
	return nil
}

func setBase(c *Class, s string) error {
	if s == "" || strings.Trim(s, letters+"._:/@-") != "" {
		return fmt.Errorf("%+q is neither host nor the name of an image", short(s))
	}
	c.Base = s
	return nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// maxSize keeps sums of sizes far from overflow.
const maxSize = 1 << 50

// ParseSize reads "512m", "4g", "1.5g" or plain bytes; k, m, g and t are powers
// of 1024. "unlimited" is 0.
func ParseSize(s string) (int64, error) {
	bad := fmt.Errorf("%+q is no size (for example 512m, 4g or %s)", short(s), unlimited)
	if s == unlimited {
		return 0, nil
	}
	digits := strings.TrimRight(s, "kmgtKMGT")
	unit := 1.0
	switch suffix := strings.ToLower(s[len(digits):]); suffix {
	case "":
	case "k", "m", "g", "t":
		unit = math.Pow(1024, float64(1+strings.Index("kmgt", suffix)))
	default:
		return 0, bad
	}
	f, err := parseDecimal(digits)
	if err != nil || f*unit > maxSize {
		return 0, bad
	}
	n := int64(f * unit)
	if n == 0 {
		return 0, fmt.Errorf("%+q is nothing at all; for no limit write %s", short(s), unlimited)
	}
	return n, nil
}

// parseDecimal is ParseFloat for people: digits and one point.
func parseDecimal(s string) (float64, error) {
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

// FormatSize writes a size as ParseSize reads it, in its largest whole unit.
func FormatSize(n int64) string {
	if n == 0 {
		return unlimited
	}
	unit := 0
	for n%1024 == 0 && unit < 4 {
		n /= 1024
		unit++
	}
	return strconv.FormatInt(n, 10) + []string{"", "k", "m", "g", "t"}[unit]
}

func setSize(at func(*Class) *int64, least int64) func(*Class, string) error {
	return func(c *Class, s string) error {
		n, err := ParseSize(s)
		if err == nil && n != 0 && n < least {
			err = fmt.Errorf("%s is too little; the least is %s", s, FormatSize(least))
		}
		*at(c) = n
		return err
	}
}

func setCPU(c *Class, s string) error {
	if s == unlimited {
		c.CPU = 0
		return nil
	}
	f, err := parseDecimal(s)
	if err != nil || f < 0.01 || f > 4096 {
		return fmt.Errorf("%+q is no number of cores (for example 2, 0.5 or %s)", short(s), unlimited)
	}
	c.CPU = f
	return nil
}

func formatFloat(f float64) string {
	if f == 0 {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func setWeight(at func(*Class) *int) func(*Class, string) error {
	return func(c *Class, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 10000 {
			return fmt.Errorf("%+q is no weight: 1 to 10000, 100 is usual", short(s))
		}
		*at(c) = n
		return nil
	}
}

func setCount(at func(*Class) *int, least int) func(*Class, string) error {
	return func(c *Class, s string) error {
		if s == unlimited {
			*at(c) = 0
			return nil
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > 1<<30 {
			return fmt.Errorf("%+q is no number from %d on, nor %s", short(s), least, unlimited)
		}
		*at(c) = n
		return nil
	}
}

func formatCount(n int) string {
	if n == 0 {
		return unlimited
	}
	return strconv.Itoa(n)
}

func setSudo(c *Class, s string) error {
	if s != "yes" && s != "no" {
		return fmt.Errorf("%+q is neither yes nor no", short(s))
	}
	c.Sudo = s == "yes"
	return nil
}

func setNetwork(c *Class, s string) error {
	modes := []string{NetworkAuto, "none", "internet", "allow-list"}
	if !slices.Contains(modes, s) {
		return fmt.Errorf("%+q is not one of %s", short(s), strings.Join(modes, ", "))
	}
	c.Network = s
	return nil
}

func setAllow(c *Class, s string) error {
	c.Allow = nil
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if strings.Trim(part, letters+"._-*:/[]") != "" {
			return fmt.Errorf("%+q is no host name, address or CIDR", short(part))
		}
		c.Allow = append(c.Allow, part)
	}
	return nil
}

func setIdle(at func(*Class) *time.Duration) func(*Class, string) error {
	return func(c *Class, s string) error {
		if s == never {
			*at(c) = 0
			return nil
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%+q is no time (for example 30m, 24h or %s)", short(s), never)
		}
		if d < time.Second {
			return errors.New("an idle time is a second at least; write " + never + " for none")
		}
		*at(c) = d
		return nil
	}
}

// FormatDuration writes a time as people do, "30m" and not "30m0s"; 0 is
// "never".
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return never
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
