package image

import (
	"time"

	"surety/sandbox/image/erofs"
)

const (
	// maxManifest bounds a manifest, index or config, in bytes: what registries accept.
	maxManifest = 4 << 20
	// maxLayers bounds the layers of an image: container engines stop at 127.
	maxLayers = 256
	// maxIndexes bounds how deep an index may stand in another; images use one level, layouts two.
	maxIndexes = 4
	// maxReferences bounds the manifests one index may list: the largest have some dozens.
	maxReferences = 1024

	// maxLayer bounds a layer, uncompressed, in bytes. The image has to fit in erofs.MaxBytes, and
	// no single layer may take half of that.
	maxLayer = 32 << 30
	// maxContents bounds all layers of an image together, uncompressed, in bytes.
	maxContents = erofs.MaxBytes
	// maxRatio bounds how much a compressed layer may grow, after its first ratioFree bytes: layers
	// of programs and text grow three to twenty times, and a gzip of zeros a thousand.
	maxRatio = 200
	// ratioFree is how many bytes may come out of a compressed layer before maxRatio holds, so that
	// a small layer of zeros passes.
	ratioFree = 64 << 20
	// maxWindow bounds the memory that a zstd layer may ask for, in bytes: what `zstd --ultra` needs.
	maxWindow = 128 << 20
	// maxEntries bounds the entries of all layers: twice the files an image may have, for those that
	// are replaced.
	maxEntries = 2 * erofs.MaxNodes
	// maxFollowed bounds the symbolic links on the way to one entry: the kernel's.
	maxFollowed = 40
	// maxAttributes bounds the extended attributes read of one file, in bytes: the kernel's limit on
	// their names.
	maxAttributes = 64 << 10

	// maxProgram bounds a program given alone, in bytes: more than the largest of the field.
	maxProgram = 4 << 30
	// maxArchiveEntries bounds the files of an archive of layers: each layer has a few.
	maxArchiveEntries = 16 * maxLayers

	// maxName bounds an image's name in a store, in bytes: a path of the host may be one.
	maxName = 4096
	// maxMetadata bounds the record of an image, in bytes: a config, and digests of layers.
	maxMetadata = 2 * maxManifest
	// maxExamples is how many dropped things are named; more are only counted.
	maxExamples = 16

	// fetchersMax is how many layers are fetched and unpacked at a time: the disk and two cores are
	// busy with three, and a registry does not think of it as an attack.
	fetchersMax = 3
	// copyBytes is the size of a piece when bytes are copied and hashed.
	copyBytes = 1 << 20
	// lockPoll is how often a lock is tried that another process holds: builds take seconds.
	lockPoll = 20 * time.Millisecond
	// maxHolders bounds the names looked at in a directory of sealed images: every sandbox of the
	// host has one.
	maxHolders = 64 << 10
)
