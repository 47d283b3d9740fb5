package score

import (
	"math"
	"testing"
)

func TestScaleOfPoints(t *testing.T) {
	ln := func(x float64) int64 { return int64(math.Round(math.Log(x) * Micro)) }
	for _, c := range []struct {
		odds   float64 // good to one bad
		points int32
	}{
		{50, 600}, {100, 620}, {25, 580}, {200, 640}, {1, 487}, {50.0 / 1024, 400}, {1e-9, -111},
	} {
		if got := PointsOfOdds(ln(c.odds)); got != c.points {
			t.Errorf("odds of %v to 1 are %d points, want %d", c.odds, got, c.points)
		}
	}
	for _, c := range []struct{ odds, pd int64 }{
		{0, 500_000}, {ln(9), 100_000}, {ln(50), 19_608}, {-ln(9), 900_000},
		{maxOddsMicro, 1}, {math.MaxInt64, 1}, {-maxOddsMicro, 999_999}, {math.MinInt64, 999_999},
	} {
		if got := PDOfOdds(c.odds); got != c.pd {
			t.Errorf("log-odds %d are a probability of %d, want %d", c.odds, got, c.pd)
		}
	}
	if got := PointsOfOdds(math.MaxInt64); got != 1930 {
		t.Errorf("the highest points are %d, want 1930", got)
	}
	if got := PointsOfOdds(math.MinInt64); got != -956 {
		t.Errorf("the lowest points are %d, want -956", got)
	}
}

func TestScaleIsMonotoneAndInverts(t *testing.T) {
	for points := int64(-900); points <= 1900; points++ {
		odds := OddsOfPoints(points)
		if got := PointsOfOdds(odds); int64(got) != points {
			t.Fatalf("%d points are log-odds %d, which are %d points", points, odds, got)
		}
		if PDOfOdds(odds) < PDOfOdds(OddsOfPoints(points+1)) {
			t.Fatalf("%d points are safer than one more", points)
		}
	}
	for odds := int64(-60_000_000); odds < 60_000_000; odds += 9_973 {
		if PointsOfOdds(odds) > PointsOfOdds(odds+9_973) || PDOfOdds(odds) < PDOfOdds(odds+9_973) {
			t.Fatalf("the scale falls at log-odds %d", odds)
		}
	}
	for _, points := range []int64{math.MinInt64, math.MaxInt64} {
		if odds := OddsOfPoints(points); odds != maxOddsMicro && odds != -maxOddsMicro {
			t.Errorf("%d points are log-odds %d, want the bound", points, odds)
		}
	}
}
