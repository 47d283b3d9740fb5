package intake

// LineMax bounds one line of a file, so that a file without line ends cannot fill the memory.
const LineMax = 1 << 20

// ColumnsMax bounds the columns of a file.
const ColumnsMax = 1_024

// MappingMax bounds a mapping file in bytes.
const MappingMax = 64 << 10

// featuresMax bounds the model's inputs that a mapping may name.
const featuresMax = 256

// numberMax bounds a number in a file, before it is multiplied: the product stays in 63 bits.
const numberMax = 1 << 50

// exponentMax bounds the exponent of a number in a file: no more zeros fit 64 bits.
const exponentMax = 18

// timesMax bounds a multiplier.
const timesMax = 1_000
