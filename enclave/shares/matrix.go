package shares

import (
	"math"

	"surety/base/errs"
)

// The scales. A number v with f fractional bits stands for v / 2^f, modulo 2^64.
const (
	cellFraction     = 9  // of cells
	cellBits         = 13 // of cells, with their sign: up to CellRange
	weightFraction   = 24
	oddsFraction     = cellFraction + weightFraction // of log-odds
	residualFraction = 24
	gradientFraction = cellFraction + residualFraction
)

// cellMax is the greatest magnitude of an encoded cell.
const cellMax = 1<<(cellBits-1) - 1

// Matrix is one party's cells, in fixed point, row by row.
type Matrix struct {
	rows, columns int
	cells         []int16
}

// NewMatrix encodes rows of equal length, each cell rounded to the nearest 1/512 and held within
// CellRange; clamped counts the cells that were not. It is errs.Invalid for ragged rows and for
// cells that are not numbers. A matrix may have no columns, and then has as many rows as rows has.
func NewMatrix(rows [][]float64) (m *Matrix, clamped int, err error) {
	m = &Matrix{rows: len(rows)}
	if len(rows) > 0 {
		m.columns = len(rows[0])
	}
	m.cells = make([]int16, 0, m.rows*m.columns)
	for i, row := range rows {
		if len(row) != m.columns {
			return nil, 0, errs.New(errs.Invalid, "shares.matrix: row %d has %d cells, not %d", i,
				len(row), m.columns)
		}
		for j, v := range row {
			if math.IsNaN(v) {
				return nil, 0, errs.New(errs.Invalid, "shares.matrix: row %d, column %d is not a number", i, j)
			}
			cell := math.Round(v * (1 << cellFraction))
			if math.Abs(cell) > cellMax {
				cell = math.Copysign(cellMax, cell)
				clamped++
			}
			m.cells = append(m.cells, int16(cell))
		}
	}
	return m, clamped, nil
}

// Rows returns how many rows there are.
func (m *Matrix) Rows() int { return m.rows }

// Columns returns how many columns there are.
func (m *Matrix) Columns() int { return m.columns }

// At returns the value of a cell, as it is computed with.
func (m *Matrix) At(row, column int) float64 {
	return float64(m.cells[row*m.columns+column]) / (1 << cellFraction)
}

// row returns the cells of a row.
func (m *Matrix) row(i int) []int16 { return m.cells[i*m.columns : (i+1)*m.columns] }

// slice returns some rows, which share the memory.
func (m *Matrix) slice(begin, end int) *Matrix {
	return &Matrix{rows: end - begin, columns: m.columns,
		cells: m.cells[begin*m.columns : end*m.columns]}
}

// fits says whether a matrix has a shape. None at all fits where there are no rows.
func (m *Matrix) fits(rows, columns int) error {
	if m == nil && rows == 0 {
		return nil
	}
	if m == nil || m.rows != rows || rows > 0 && m.columns != columns {
		have, wide := 0, 0
		if m != nil {
			have, wide = m.rows, m.columns
		}
		return errs.New(errs.Invalid, "%d rows of %d columns, not %d of %d", have, wide, rows, columns)
	}
	return nil
}

// forward adds to into[i] the product of the i-th of every stride-th row and a vector, all modulo
// 2^64.
func (m *Matrix) forward(stride int, vector, into []uint64) {
	for i := range into {
		sum := uint64(0)
		for j, cell := range m.row(i * stride) {
			sum += uint64(int64(cell)) * vector[j]
		}
		into[i] += sum
	}
}

// backward adds to into[j] the product of column j and a vector over every stride-th row.
func (m *Matrix) backward(stride int, vector, into []uint64) {
	for i, v := range vector {
		for j, cell := range m.row(i * stride) {
			into[j] += uint64(int64(cell)) * v
		}
	}
}
