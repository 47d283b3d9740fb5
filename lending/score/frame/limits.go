package frame

// The limits of mappings and data sets.
const (
	// MaxMappingBytes bounds a mapping: twenty times the largest that ships.
	MaxMappingBytes = 64 << 10

	// MaxMappingNesting bounds how deep brackets nest in a mapping, where two are of use. The YAML
	// decoder takes time and stack that grow with the square of it.
	MaxMappingNesting = 32

	// MaxColumns bounds the columns of a file; wider ones are not tables of loans.
	MaxColumns = 2048

	// MaxRows bounds a frame. At 8 bytes a value and 100 features it is 4 GB of memory.
	MaxRows = 5_000_000

	// MaxLineBytes bounds one line of a file, so that a file without line breaks, or a device that
	// never ends, cannot take all memory. It is thousands of columns of ordinary width.
	MaxLineBytes = 1 << 20

	// MaxRowErrors is how many broken rows a report keeps in full; all are counted.
	MaxRowErrors = 100

	// MaxBands bounds the bands that a protected number is told in.
	MaxBands = 32
)
