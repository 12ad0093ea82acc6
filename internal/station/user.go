package station

import "time"

// User is a person with an account. The password's hash is not part of it: it
// stays between the store and auth.
type User struct {
	ID        ID        `json:"id"`
	Name      string    `json:"name"`
	Admin     bool      `json:"admin"`
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"created_at"`
}

// Workstation is a user's one durable file system. Its home on the host is
// DATA/homes/ID; files in it belong to uid 1000 of the user's own range.
type Workstation struct {
	ID       ID
	User     ID
	UIDRange int // index of the user's range of 65,536 host uids; unique per host, never reused
}

// Home is what a workstation's home holds, and what it may.
type Home struct {
	Bytes      int64     `json:"home_bytes"`  // of disk blocks
	Files      int64     `json:"home_files"`  // inodes: files, folders, links
	AtLeast    bool      `json:"at_least"`    // it holds more than could be counted
	MeasuredAt time.Time `json:"measured_at"` // when it was counted
	Quota      int64     `json:"quota_bytes"` // 0: none
	FileQuota  int64     `json:"quota_files"` // 0: none
	Enforced   string    `json:"enforced" enum:"none,project quota,measured"`
	Free       int64     `json:"free_bytes"` // what the person can still write
	DiskLow    bool      `json:"disk_low"`   // the server's disk is almost full
}

// Login is one signed-in browser. The cookie holds a random token; only its
// SHA-256 is stored.
type Login struct {
	ID        ID
	User      ID
	CreatedAt time.Time
	ExpiresAt time.Time
}

// APIToken is a bearer token for scripts and the CLI; stored as SHA-256.
type APIToken struct {
	ID        ID         `json:"id"`
	User      ID         `json:"-"`
	Name      string     `json:"name"`
	Scopes    []string   `json:"scopes"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // nil: never
	UsedAt    *time.Time `json:"used_at"`
}
