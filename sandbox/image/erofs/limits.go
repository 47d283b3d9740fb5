package erofs

const (
	// MaxName is the longest name of an entry, in bytes: the format's and the kernel's.
	MaxName = 255
	// MaxPath is the longest path, in bytes: PATH_MAX without its end, so that every file of an
	// image can be opened by name.
	MaxPath = 4095
	// MaxTarget is the longest target of a symbolic link, in bytes: what readers take at most.
	MaxTarget = 4095
	// MaxNodes bounds the inodes of an image. A tree takes some 400 bytes a node while it is
	// written: half a gigabyte at the limit, and ten times what large images have.
	MaxNodes = 1 << 20
	// MaxLinks bounds the names of one node: what the kernel's file systems give.
	MaxLinks = 65000
	// MaxBytes bounds an image: it has to fit in memory, sealed. 64 GiB is more than the machines
	// that would hold it.
	MaxBytes = 64 << 30

	// maxDepth bounds the walk of a tree: a path of MaxPath bytes has no more names.
	maxDepth = MaxPath/2 + 1
	// maxFollowed bounds the symbolic links that one look-up follows: the kernel's.
	maxFollowed = 40
	// maxDirectory bounds what a reader takes of one directory, in bytes: MaxNodes entries with
	// long names.
	maxDirectory = MaxNodes * (direntBytes + MaxName)

	// streamBytes is what is gathered before it is written: large enough that a write costs
	// nothing beside its bytes.
	streamBytes = 1 << 20
)
