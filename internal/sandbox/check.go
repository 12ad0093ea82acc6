package sandbox

// Check is one thing that must hold before a provider can make sandboxes, as
// `staithe doctor` shows it.
type Check struct {
	Name   string // what was looked at: "runtime", "user namespaces"
	OK     bool
	Detail string // what was found, one line
	Fix    string // when not OK: what to run or change, exactly; when OK: what would make it better, if anything
}
