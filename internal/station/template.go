package station

import "time"

// HomeTemplate is what became of the template that a user's home began with.
type HomeTemplate struct {
	State   string    `json:"state" enum:"none,pending,done,failed" doc:"none: the home began with the host's skeleton alone; pending: it is being fetched, also after a start of the server; done and failed are for good"`
	Source  string    `json:"source,omitempty" doc:"Where it is from: an address without credentials and query, or the name that a folder or archive has on the server"`
	Fetched int64     `json:"fetched_bytes,omitempty" doc:"pending: what came of it so far, packed as it comes"`
	Files   int64     `json:"files" doc:"Files and links that it brought"`
	Kept    int64     `json:"kept" doc:"Names that were there already, and stayed"`
	Trouble string    `json:"trouble,omitempty" doc:"failed: why, and what to do"`
	At      time.Time `json:"at,omitzero" doc:"Since when the state is so"`
}
