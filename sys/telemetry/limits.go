package telemetry

// scrapesMax bounds the concurrent readers of the metrics: each walks them all, and one scraper
// with one standby is the usual number.
const scrapesMax = 4
