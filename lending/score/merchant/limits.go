package merchant

import "surety/lending/score/frame"

// MaxRows bounds what WriteCSV and Frame make at once: a frame takes no more.
const MaxRows = frame.MaxRows
