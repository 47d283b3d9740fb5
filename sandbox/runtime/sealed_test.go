package runtime_test

import (
	"slices"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

// TestSealedCheck has each refusal of a sealed volume, in order: every row mends one defect.
func TestSealedCheck(t *testing.T) {
	spec := runtime.Spec{ID: "s", Class: runtime.Sentry, Root: runtime.Root{Dir: "/root"}, Args: []string{"a"},
		Cwd: "/", Overlay: "memory", Network: runtime.Network{Mode: "none"},
		Volumes: []runtime.Volume{{Source: "/kept", Target: "/there"}},
		Sealed:  slices.Repeat([]runtime.Sealed{{Sort: "a b", Dir: "kept/", Target: "there"}}, 17)}
	for _, step := range []struct {
		want string
		mend func()
	}{
		{"sealed: 17 of them, at most 16", func() { spec.Sealed = spec.Sealed[:1] }},
		{`sealed[0].sort: "a b" is no name`, func() { spec.Sealed[0].Sort = "state" }},
		{`sealed[0].dir: "kept/" is not a clean absolute path`, func() { spec.Sealed[0].Dir = "/kept" }},
		{`sealed[0].target: "there" is not a clean`, func() { spec.Sealed[0].Target = "/" }},
		{`sealed[0].target: "/" is not a clean`,
			func() { spec.Sealed[0].Target = "/" + strings.Repeat("x", 80) }},
		{"sealed[0].target: 81 bytes, at most 80", func() { spec.Sealed[0].Target = "/there" }},
		{"sealed[0].target: /there is there twice", func() { spec.Sealed[0].Target = "/state" }},
		{"sealed[0].dir: /kept is shown as a volume", func() { spec.Volumes[0].Source = "/other" }},
		{"sealed[0]: takes class sentry, a root that is an image, and no snapshot",
			func() { spec.Root = runtime.Root{Image: "/image"} }},
	} {
		err := spec.Check()
		if k := errs.KindOf(err); err == nil || k != errs.Invalid && k != errs.TooLarge ||
			!strings.Contains(err.Error(), step.want) {
			t.Errorf("%v, want %s", err, step.want)
		}
		step.mend()
	}
	if err := spec.Check(); err != nil {
		t.Error(err)
	}
}
