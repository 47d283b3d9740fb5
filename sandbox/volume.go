package sandbox

// What runtime and the file server of a sandbox agree on for volumes that are not the host's files
// (sandbox/volume).
const (
	// VolumeAnnotation names the mounts that are such volumes, a line each: SORT TARGET.
	VolumeAnnotation = "dev.surety.volumes"

	// KeeperSocket is where, in the mount's source, the volume's keeper listens.
	KeeperSocket = "keeper"
)
