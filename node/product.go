package node

import (
	"os"

	"github.com/goccy/go-yaml"

	"surety/base/errs"
	"surety/lending"
)

// productMax bounds a product file in bytes.
const productMax = 64 << 10

// readProduct reads the terms of a product from a YAML file over those of the built-in one. An
// unknown key is of kind Invalid and named with its line.
func readProduct(name string) (*lending.Product, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, errs.As(errs.NotFound, err, "lending.product")
	}
	if info.Size() > productMax {
		return nil, errs.New(errs.TooLarge, "lending.product: %s has %d bytes, the limit is %d",
			name,
			info.Size(), productMax)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, errs.As(errs.Forbidden, err, "lending.product")
	}
	terms := lending.Merchant310()
	if err := yaml.UnmarshalWithOptions(data, &terms, yaml.Strict()); err != nil {
		return nil, errs.As(errs.Invalid, err, "lending.product: %s", name)
	}
	return &terms, errs.Wrap(terms.Validate(), "lending.product: %s", name)
}
