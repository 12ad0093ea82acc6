package station

import "time"

// Snapshot is the home as it was at one moment, in the repository.
type Snapshot struct {
	ID       string    `json:"id" doc:"As restic names it"`
	At       time.Time `json:"at" doc:"When reading the home began: what was changed before is in it"`
	Files    int64     `json:"files"`
	Bytes    int64     `json:"bytes" doc:"The sizes of all files in it"`
	Added    int64     `json:"added_bytes" doc:"What it added to the repository, packed"`
	Changed  int64     `json:"changed_files" doc:"New and changed files since the one before"`
	Verified time.Time `json:"verified_at,omitzero" doc:"When its listing and a sample of its content were last read back; absent: not yet, and it does not count"`
	Tags     []string  `json:"tags" nullable:"false" doc:"Why it was made: auto, asked, before-restore"`
}

// Left is something of the home that snapshots do not hold, by a rule that the
// person can see, or because it failed.
type Left struct {
	Rule   string `json:"rule" doc:"The pattern"`
	Why    string `json:"why"`
	Bytes  int64  `json:"bytes" doc:"What it matches now"`
	Files  int64  `json:"files"`
	Failed bool   `json:"failed,omitempty" doc:"By no rule: it could not be read, or not as of one moment"`
}

// BackupState is how safe a home is at this moment.
type BackupState struct {
	On       bool      `json:"on" doc:"Whether snapshots are made at all"`
	Off      string    `json:"off,omitempty" doc:"Why not, and what to do"`
	Place    string    `json:"place" doc:"Where they go, in words, without credentials"`
	Safe     time.Time `json:"safe_at,omitzero" doc:"All that was changed before this moment is in a verified snapshot; absent: there is none yet"`
	Pending  int64     `json:"pending_files" doc:"Changed since; -1: not known, such as after a restart"`
	Busy     string    `json:"busy,omitempty" enum:"snapshot,verify,prune,scrub,restore" doc:"What is going on"`
	Done     int64     `json:"done_bytes,omitempty" doc:"Of what is going on"`
	Total    int64     `json:"total_bytes,omitempty" doc:"Of what is going on; 0: not known yet"`
	Scrubbed time.Time `json:"verified_at,omitzero" doc:"When the repository was last checked as a whole"`
	Trouble  string    `json:"trouble,omitempty" doc:"Why the last try failed, and what to do; it is tried again by itself"`
	Retry    time.Time `json:"retry_at,omitzero" doc:"When it is tried again"`
	Left     []Left    `json:"left_out" nullable:"false" doc:"What snapshots do not hold"`
}

// RestoreRequest asks for something of a snapshot.
type RestoreRequest struct {
	Path  string `json:"path" doc:"From the home's top, in percent form; . is the whole home"`
	Where string `json:"where" enum:"beside,in_place" doc:"beside: into a new name next to it; in_place: what differs is replaced, and goes to the trash"`
	Exact bool   `json:"exact,omitempty" doc:"in_place: what the snapshot does not have goes to the trash, too"`
}

// RestoreChange is one thing that a restore will do.
type RestoreChange struct {
	Path   string `json:"path"`
	Change string `json:"change" enum:"add,replace,trash,mode"`
	Size   int64  `json:"size"`
}

// RestorePreview is what a restore will do. Nothing has been done.
type RestorePreview struct {
	Changes []RestoreChange `json:"changes" nullable:"false" doc:"The first of them"`
	Adds    int64           `json:"adds"`
	Replace int64           `json:"replaces"`
	Trash   int64           `json:"trashes"`
	Same    int64           `json:"same"`
	Bytes   int64           `json:"bytes" doc:"To be fetched"`
	Refused string          `json:"refused,omitempty" doc:"Why it cannot be done, such as by the quota"`
}

// Restore is one that runs or ran.
type Restore struct {
	ID       string         `json:"id"`
	Snapshot string         `json:"snapshot"`
	Request  RestoreRequest `json:"request"`
	State    string         `json:"state" enum:"running,done,failed,undone"`
	Into     string         `json:"into,omitempty" doc:"beside: where it is"`
	Done     int64          `json:"done_bytes"`
	Total    int64          `json:"total_bytes"`
	Started  time.Time      `json:"started_at"`
	Ended    time.Time      `json:"ended_at,omitzero"`
	Trouble  string         `json:"trouble,omitempty" doc:"Why it failed, and what to do"`
	Undo     bool           `json:"undo" doc:"Whether it can be undone"`
}
