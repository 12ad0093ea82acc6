// Package restore has things of a home's snapshots back: a file, a folder or all
// of it, beside what is there or in its place, and undoes that. And it has a
// whole server back, from its repositories alone.
//
// A restore is fetched by restic, in a jail, into a folder beside the homes that
// only the server reaches. There it is made plain and the user's. Then it is
// moved into the home's staging, and the user's files helper puts it in place:
// nothing here opens a path inside of a home.
package restore
