package score

import "surety/lending/score/portable"

// The scale of points. With 20 points to double the odds and 600 points at odds of 50 to 1, points
// = OffsetNano/1e9 + FactorNano/1e9 * log-odds of good, where the factor is 20 / ln 2 and the
// offset is 600 - factor * ln 50.
const (
	PointsToDouble = 20              // points by which the odds of good double
	AnchorPoints   = 600             // points at AnchorOdds
	AnchorOdds     = 50              // good to one bad
	FactorNano     = 28_853_900_818  // points per unit of log-odds, in billionths
	OffsetNano     = 487_122_876_205 // points at even odds, in billionths
)

// Micro is the number of parts in one unit of log-odds, and in a probability of one.
const Micro = 1_000_000

// PointsOfOdds returns the points, to the nearest whole one (halves upward), of log-odds of good in
// millionths. Log-odds beyond ±50 units count as ±50.
func PointsOfOdds(oddsMicro int64) int32 {
	const scale = 1_000_000_000 * Micro
	odds := min(max(oddsMicro, -maxOddsMicro), maxOddsMicro)
	sum := OffsetNano*Micro + FactorNano*odds + scale/2
	points := sum / scale
	if sum%scale < 0 {
		points--
	}
	return int32(points)
}

// OddsOfPoints returns the log-odds of good, in millionths, that a number of points stands for; it
// is cut to ±50 units. PointsOfOdds(OddsOfPoints(p)) is p wherever nothing is cut.
func OddsOfPoints(points int64) int64 {
	const bound = 2000 // points; fifty units of log-odds are 1,443 points away from even odds
	points = min(max(points, -bound), bound)
	odds := (points*1_000_000_000 - OffsetNano) * Micro / FactorNano
	return min(max(odds, -maxOddsMicro), maxOddsMicro)
}

// PDOfOdds returns the probability of default, in parts per million, for log-odds of good in
// millionths. It is never below 1 nor above 999,999: no model is that sure.
func PDOfOdds(oddsMicro int64) int64 {
	odds := min(max(oddsMicro, -maxOddsMicro), maxOddsMicro)
	pd := portable.Sigmoid(-float64(odds) / Micro)
	return min(max(portable.Round(float64(pd*Micro)), 1), Micro-1)
}
