// Package bucket brings a bucket of plain objects into a home: objects are files
// under their keys, with POSIX modes, times and the targets of links in their user
// metadata, as TigrisFS, GeeseFS and s3fs write them.
//
// The bucket may hold anything. A key that is no path in a home, or that lies
// below a file or a link, is refused and listed; what the server unpacks it checks
// again.
package bucket
