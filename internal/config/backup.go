package config

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// S3 is a place in an S3-compatible store. Its variables have the names that
// other programs have for them, without STAITHE_.
type S3 struct {
	Endpoint  string // http(s)://host[:port], or host[:port] for https; "": Amazon's
	Bucket    string // "": none
	AccessKey string
	SecretKey string
	Region    string // or auto: found out
	PathStyle bool
	Prefix    string // without slashes around it
}

func (s S3) check() error {
	switch {
	case s.Bucket == "" && (s.AccessKey != "" || s.SecretKey != "" || s.Endpoint != ""):
		return errors.New("S3 credentials or an endpoint are set, but no bucket: set S3_BUCKET, or none of them")
	case s.Bucket != "" && (s.AccessKey == "" || s.SecretKey == ""):
		return errors.New("backups go to the bucket " + s.Bucket + ", but its credentials are missing: set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY")
	}
	return nil
}

// Keep is how many snapshots of each kind are kept.
type Keep struct {
	Hourly, Daily, Weekly, Monthly int
}

var backupFields = []field{
	{name: "backups", usage: "snapshots of homes and of the database: on or off", fallback: fixed("on"),
		set: oneOf(func(c *Config) *string { return &c.Backups }, "on", "off"), get: func(c *Config) string { return c.Backups }},
	{name: "backup-keep", usage: "how many `snapshots` are kept: of the last so many hours, days, weeks and months with one, the last; besides all of the last 2 hours",
		fallback: fixed("48h,14d,8w,12m"), set: setKeep, get: keep},
	{name: "s3-endpoint", env: "S3_ENDPOINT", usage: "the S3 store's `address`, https://host or host; left out: Amazon's", fallback: fixed(""),
		set: setEndpoint, get: func(c *Config) string { return c.S3.Endpoint }},
	{name: "s3-bucket", env: "S3_BUCKET", usage: "the `bucket` that backups go to; left out: the folder backups in the data directory. Its credentials are set by S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or in the file", fallback: fixed(""),
		set: setWord(func(c *Config) *string { return &c.S3.Bucket }), get: func(c *Config) string { return c.S3.Bucket }},
	{name: "s3-access-key-id", env: "S3_ACCESS_KEY_ID", secret: true, fallback: fixed(""),
		set: setWord(func(c *Config) *string { return &c.S3.AccessKey }), get: func(c *Config) string { return c.S3.AccessKey }},
	{name: "s3-secret-access-key", env: "S3_SECRET_ACCESS_KEY", secret: true, fallback: fixed(""),
		set: setWord(func(c *Config) *string { return &c.S3.SecretKey }), get: func(c *Config) string { return c.S3.SecretKey }},
	{name: "s3-region", env: "S3_REGION", usage: "the store's `region`; auto: found out", fallback: fixed("auto"),
		set: setWord(func(c *Config) *string { return &c.S3.Region }), get: func(c *Config) string { return c.S3.Region }},
	{name: "s3-path-style", env: "S3_PATH_STYLE", usage: "whether the bucket is in the path, not in the host's name", fallback: fixed("false"),
		set: func(c *Config, s string) (err error) {
			if c.S3.PathStyle, err = strconv.ParseBool(s); err != nil {
				err = fmt.Errorf("%q is neither true nor false", s)
			}
			return err
		}, get: func(c *Config) string { return strconv.FormatBool(c.S3.PathStyle) }},
	{name: "s3-prefix", env: "S3_PREFIX", usage: "`path` in the bucket below which everything is", fallback: fixed(""),
		set: setPrefix, get: func(c *Config) string { return c.S3.Prefix }},
}

// setWord takes text without spaces. It never says what was wrong with it, which
// may be a secret.
func setWord(at func(*Config) *string) func(*Config, string) error {
	return func(c *Config, s string) error {
		if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return errors.New("there is a space or control character in it")
		}
		*at(c) = s
		return nil
	}
}

func setEndpoint(c *Config, s string) error {
	c.S3.Endpoint = ""
	if s == "" {
		return nil
	}
	full := s
	if !strings.Contains(s, "://") {
		full = "https://" + s
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return errors.New("the S3 endpoint is not https://host[:port] or host[:port]")
	}
	c.S3.Endpoint = u.Scheme + "://" + u.Host
	return nil
}

func setPrefix(c *Config, s string) error {
	s = strings.Trim(s, "/")
	for part := range strings.SplitSeq(s, "/") {
		if part == "." || part == ".." || s != "" && part == "" {
			return fmt.Errorf("%q is not a path in a bucket", s)
		}
	}
	return setWord(func(c *Config) *string { return &c.S3.Prefix })(c, s)
}

func setKeep(c *Config, s string) error {
	c.BackupKeep = Keep{}
	units := map[byte]*int{'h': &c.BackupKeep.Hourly, 'd': &c.BackupKeep.Daily, 'w': &c.BackupKeep.Weekly, 'm': &c.BackupKeep.Monthly}
	seen := map[byte]bool{}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		unit := part[len(part)-1]
		n, err := strconv.Atoi(part[:len(part)-1])
		if err != nil || n < 0 || units[unit] == nil || seen[unit] {
			return fmt.Errorf("%q is not like 48h,14d,8w,12m", s)
		}
		*units[unit], seen[unit] = n, true
	}
	return nil
}

func keep(c *Config) string {
	k := c.BackupKeep
	return fmt.Sprintf("%dh,%dd,%dw,%dm", k.Hourly, k.Daily, k.Weekly, k.Monthly)
}
