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
		// The bin takes its share of what is left, and all values equal to its last.
		end := begin + max(1, (len(known)-begin)/(bins-len(cuts)))
		if end >= len(known) {
			break
		}
		bound := known[end-1]
		for end < len(known) && known[end] == bound {
			end++
		}
		if end == len(known) {
			break
		}
		cuts = append(cuts, bound)
		begin = end
	}
	return cuts
}

// binOf returns the bin of a known value: the number of cuts below it.
func binOf(cuts []int64, v int64) int {
	bin, _ := slices.BinarySearch(cuts, v)
	return bin
}
