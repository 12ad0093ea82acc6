// Package process runs guests as plain processes of the host: no isolation at
// all, for development where there is no container runtime. Whoever has a shell
// of such a session has the account it runs as, the host's network and all that
// account may read.
//
// It is used only when it is asked for by its name, and says so in the log at
// each start. A gateway that is root runs guest and shells as the user's own
// host uid, to which the home belongs; any other runs them as its own account.
//
// On disk, under the data directory:
//
//	process/SESSION/  guest.sock, guest.log, record.json
//
// What belongs to a session is found by descent from its guest, which takes in
// the orphans below it, and by the mark STAITHE_SESSION in a process's
// environment. A program that hides from both, with sudo or by clearing its
// environment after its guest died, outlives its session: that is what no
// isolation means.
package process
