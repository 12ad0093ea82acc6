// Package docker makes sandboxes with a Docker or Podman service of the same
// host, through the Docker API on its unix socket.
//
// What a sandbox is: a container with a read-only root made of the host's /usr
// and the shared base (package hostbase), the person's home as the one place that
// lasts, no network but its loopback, the four capabilities that the guest needs
// and none for shells, the same seccomp profile as package oci, no new
// privileges.
//
// What is thinner than with package oci: a service that is root maps no user ids
// for us. The guest is the host's uid 0 with four capabilities, also where dockerd
// is set up to map ids for all containers (userns-remap), since that would hide
// the homes; the person is the account that the home belongs to. Whoever may use
// such a service's socket is root on the host: so is the gateway, then.
//
// Podman that runs by an account that is not root puts the sandbox into a user
// namespace of that account, in which the person is the account itself. Docker's
// rootless mode cannot do that, and is refused with a sentence.
//
// A container cannot inherit a socket from the gateway. The guest fetches it from
// a hand-over socket that only the gateway can make (guestsock.Hand).
//
// On disk, under the data directory, KIND being docker or podman:
//
//	KIND/id        what marks this data directory's containers
//	KIND/base/     the base, from which the service's image is imported
//	KIND/SESSION/  etc/, hand/, guest.sock, record.json
package docker
