// Package image keeps base images: root file systems that sandboxes share
// read-only. An image comes as an OCI layout, a docker save archive, a tar of a
// root file system, a folder, or from a registry, and becomes a folder:
//
//	DATA/images/NAME/current            a link to the version in force
//	DATA/images/NAME/VERSION/rootfs     the unpacked root, owned as the image says
//	DATA/images/NAME/VERSION/manifest.json
//
// A version is built beside its place and renamed, and the link is switched at
// once, so a sandbox that runs on an older version keeps its floor.
//
// Everything that comes in is held to be hostile: see unpack.go.
package image
