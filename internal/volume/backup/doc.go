// Package backup makes snapshots of homes in the background, and of the server's
// own database, and knows how safe each is.
//
// One unit per workstation hears what changes in its home (Options.Watch). When
// something did, it makes a snapshot after a short quiet time, or at the latest
// so that it is verified within a minute. A snapshot counts only when it was read
// back from the repository: its listing as far as it changed, and a sample of
// its new content. When nothing changed nothing runs.
//
// What a unit says of itself (station.BackupState) is never more than is so:
// Safe is when reading for the last verified snapshot began, and nothing that was
// changed before that moment is missing in it but what Left names. What changed
// since is counted in Pending.
package backup
