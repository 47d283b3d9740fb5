package train

import (
	"slices"

	"surety/lending/score"
)

// cutPoints returns at most bins-1 ascending values that divide the known values of a column into
// bins of about equal counts: a bin holds what is above the cut before it, up to and with its own.
// Values in skip are left out. The greatest value is never a cut, so every bin is non-empty.
func cutPoints(column []int64, skip []int64, bins int) []int64 {
	known := make([]int64, 0, len(column))
	for _, v := range column {
		if v != score.Missing && !slices.Contains(skip, v) {
			known = append(known, v)
		}
	}
	slices.Sort(known)
	var cuts []int64
	for begin := 0; len(cuts) < bins-1; {
		share := begin + max(1, (len(known)-begin)/(bins-len(cuts)))
		if share >= len(known) {
			break
		}
		end := endOfBin(known, begin, share)
		if end == len(known) {
			break
		}
		cuts = append(cuts, known[end-1])
		begin = end
	}
	return cuts
}

// endOfBin returns where a bin that begins at an index and should end at share does end. Equal
// values stay together: those that stand across share go where more of them stand already, but
// never leave the bin empty, and begin a bin rather than end the last but one.
func endOfBin(known []int64, begin, share int) int {
	value := known[share-1]
	first, _ := slices.BinarySearch(known[begin:share], value)
	first += begin
	after := share
	for after < len(known) && known[after] == value {
		after++
	}
	if first > begin && (after == len(known) || share-first < after-share) {
		return first
	}
	return after
}

// binOf returns the bin of a known value: the number of cuts below it.
func binOf(cuts []int64, v int64) int {
	bin, _ := slices.BinarySearch(cuts, v)
	return bin
}
