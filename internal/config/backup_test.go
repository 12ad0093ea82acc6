package config

import (
	"bytes"
	"flag"
	"strings"
	"testing"
)

// The store is set by the names others have for it; its secrets are no flags, and
// are not printed.
func TestS3(t *testing.T) {
	env := map[string]string{"S3_ENDPOINT": "s3.example.org:9000", "S3_BUCKET": "b", "S3_ACCESS_KEY_ID": "the-id", "S3_SECRET_ACCESS_KEY": "the-secret",
		"S3_PATH_STYLE": "true", "S3_PREFIX": "/a/b/"}
	c, err := load(t, env)
	want := S3{"https://s3.example.org:9000", "b", "the-id", "the-secret", "auto", true, "a/b"}
	if err != nil || c.S3 != want {
		t.Errorf("%+v %v", c.S3, err)
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil || strings.Contains(out.String(), "the-id") || strings.Contains(out.String(), "the-secret") {
		t.Errorf("%s %v", out.String(), err)
	}
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	Register(fs)
	if fs.Lookup("s3-secret-access-key") != nil || fs.Lookup("s3-access-key-id") != nil || fs.Lookup("s3-bucket") == nil {
		t.Error("which of them are flags")
	}
	for _, bad := range []map[string]string{
		{"S3_BUCKET": "b"}, {"S3_ENDPOINT": "https://h"}, {"S3_ENDPOINT": "https://u:the-secret@h", "S3_BUCKET": "b"}, {"S3_PATH_STYLE": "perhaps"}, {"S3_PREFIX": "a/../b"},
		{"S3_SECRET_ACCESS_KEY": "the-secret with a space"}, {"STAITHE_BACKUP_KEEP": "3x"}, {"STAITHE_BACKUP_KEEP": "3h,4h"},
	} {
		if _, err := load(t, bad); err == nil || strings.Contains(err.Error(), "the-secret") {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if c, err := load(t, map[string]string{"STAITHE_BACKUP_KEEP": "3h, 2m"}); err != nil || c.BackupKeep != (Keep{Hourly: 3, Monthly: 2}) {
		t.Errorf("%+v %v", c.BackupKeep, err)
	}
}
