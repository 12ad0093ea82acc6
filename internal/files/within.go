package files

// Within says whether p is q or lies below it.
func (p Path) Within(q Path) bool { return p.within(q) }

// Staged says whether p is in the folder where staithe makes and removes files.
// What happens there is nobody's news.
func (p Path) Staged() bool { return p.within(stagingDir) }
