package pack

import "surety/enclave"

const (
	// maxSigned bounds the file of a signed manifest, in bytes: a bit more than OpenSigned takes,
	// which says so in its own words.
	maxSigned = enclave.MaxManifest + 4096

	// maxKey bounds a file with a key, in bytes: a PEM block of an Ed25519 key has 119.
	maxKey = 16 << 10

	// maxProject bounds enclave.yaml, in bytes: people write it, and nobody writes a megabyte.
	maxProject = 1 << 20

	// copyBytes is the size of a piece when bytes are copied.
	copyBytes = 1 << 20

	// maxLibraries bounds the files that one program draws in: the largest of the field need some
	// hundreds.
	maxLibraries = 4096

	// maxLinks bounds the symbolic links on the way to one file: the kernel's.
	maxLinks = 40

	// maxIncludes bounds the files of /etc/ld.so.conf, and maxConfig each, in bytes.
	maxIncludes = 256
	maxConfig   = 64 << 10

	// maxListed bounds the files that a comparison of two layers lists: more are only counted.
	maxListed = 1000
)
