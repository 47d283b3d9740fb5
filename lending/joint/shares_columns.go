package joint

import (
	"math"
	"slices"
	"strconv"

	"surety/base/errs"
	"surety/enclave"
)

const (
	// heavySkew is from which skewness on a column is taken by the logarithm of its magnitude: sums of
	// money have some of ten, ages and counts below two.
	heavySkew = 2

	// leastPresent is how many rows must have a level or special value for it to be a column.
	leastPresent = 20

	// maxIndicators bounds the columns that one column of levels becomes.
	maxIndicators = 32

	// clampAt is the greatest magnitude of a prepared value, in standard deviations, before columns
	// are made independent: beyond it few rows would lead the fit.
	clampAt = 4

	// leastPivot is the share of a column's variance that the columns before it must leave for it to
	// be a column of its own.
	leastPivot = 1e-3
)

// feature is one column of numbers, made of a column of the contract.
type feature struct {
	name   string
	values []float64 // of every row
}

// expand makes numbers of a party's columns: amounts as they are or by their logarithm, with a mean
// for what is missing; for special values and levels a column of zeros and ones. What is decided
// from the data is decided from the rows in learn alone. It is errs.Invalid for an amount that is
// none.
func expand(d *Data, columns []enclave.Column, learn []int32) ([]feature, error) {
	var features []feature
	for i, column := range columns {
		texts := make([]string, len(d.Rows))
		for row := range d.Rows {
			texts[row] = d.Rows[row][i]
		}
		var more []feature
		var err error
		if column.Kind == "categorical" {
			more = levels(column.Name, texts, learn)
		} else {
			more, err = amounts(&column, texts, learn)
		}
		if err != nil {
			return nil, err
		}
		features = append(features, more...)
	}
	return features, nil
}

// amounts reads a numeric column.
func amounts(c *enclave.Column, texts []string, learn []int32) ([]feature, error) {
	values := make([]float64, len(texts))
	absent := make([]string, len(texts)) // what stands instead of an amount
	for row, text := range texts {
		v, err := strconv.ParseFloat(text, 64)
		switch {
		case text == "":
			absent[row] = "missing"
		case err != nil || math.IsInf(v, 0) || math.IsNaN(v):
			return nil, errs.New(errs.Invalid, "joint.shares: row %d, column %q: not a number", row+1, c.Name)
		case special(c, v):
			absent[row] = text
		}
		values[row] = v
	}
	fill(values, absent, learn)
	features := []feature{{c.Name, values}}
	for _, text := range frequent(absent, learn) {
		features = append(features, indicator(c.Name, text, absent))
	}
	return features, nil
}

// special reports whether an amount is a code.
func special(c *enclave.Column, v float64) bool {
	scaled := v * math.Pow10(int(c.Decimals))
	return slices.ContainsFunc(c.Special, func(code int64) bool { return float64(code) == scaled })
}

// fill takes the logarithm of a column with a heavy tail, and puts the mean where there is no amount.
func fill(values []float64, absent []string, learn []int32) {
	mean, deviation, skew := moments(values, absent, learn)
	if math.Abs(skew) > heavySkew && deviation > 0 {
		for row, v := range values {
			values[row] = math.Copysign(math.Log1p(math.Abs(v)), v)
		}
		mean, _, _ = moments(values, absent, learn)
	}
	for row := range values {
		if absent[row] != "" {
			values[row] = mean
		}
	}
}

// moments returns mean, standard deviation and skewness of the amounts that are there.
func moments(values []float64, absent []string, learn []int32) (mean, deviation, skew float64) {
	n := 0.0
	for _, row := range learn {
		if absent == nil || absent[row] == "" {
			mean, n = mean+values[row], n+1
		}
	}
	if n == 0 {
		return 0, 0, 0
	}
	mean /= n
	second, third := 0.0, 0.0
	for _, row := range learn {
		if absent == nil || absent[row] == "" {
			off := values[row] - mean
			second, third = second+off*off, third+off*off*off
		}
	}
	deviation = math.Sqrt(second / n)
	if deviation > 0 {
		skew = third / n / (deviation * deviation * deviation)
	}
	return mean, deviation, skew
}

// levels makes a column of zeros and ones of each level but the most frequent.
func levels(name string, texts []string, learn []int32) []feature {
	var features []feature
	found := frequent(texts, learn)
	for _, text := range found[min(1, len(found)):] {
		features = append(features, indicator(name, text, texts))
	}
	return features
}

// frequent returns the texts that enough rows have, the most frequent first, and of equally many the
// one that sorts first. Empty texts do not count.
func frequent(texts []string, learn []int32) []string {
	count := map[string]int{}
	for _, row := range learn {
		count[texts[row]]++
	}
	var found []string
	for text, n := range count {
		if text != "" && n >= leastPresent {
			found = append(found, text)
		}
	}
	slices.SortFunc(found, func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		if a < b {
			return -1
		}
		return 1
	})
	return found[:min(len(found), maxIndicators)]
}

func indicator(name, text string, texts []string) feature {
	values := make([]float64, len(texts))
	for row := range texts {
		if texts[row] == text {
			values[row] = 1
		}
	}
	return feature{name + "=" + text, values}
}
