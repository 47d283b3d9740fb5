package layer

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/go-dmverity/pkg/verity"

	"surety/base/errs"
)

// TestVerityIsThatOfDeviceMapper compares with another implementation, and with veritysetup where
// the machine has it.
func TestVerityIsThatOfDeviceMapper(t *testing.T) {
	salt := [32]byte{0: 7, 31: 9}
	setup, _ := exec.LookPath("veritysetup")
	if setup == "" {
		t.Log("veritysetup is not here: compared with go-dmverity alone")
	}
	for _, blocks := range []int{1, 2, 127, 128, 129, 256, 257, 128 * 128, 128*128 + 1} {
		data := image(blocks * verityBlock)
		got, err := Verity(context.Background(), bytes.NewReader(data), int64(len(data)), salt)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		image, tree := filepath.Join(dir, "image"), filepath.Join(dir, "tree")
		if err := os.WriteFile(image, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tree, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p := verity.Params{HashName: "sha256", DataBlockSize: verityBlock, HashBlockSize: verityBlock,
			DataBlocks: uint64(blocks), HashType: 1, Salt: salt[:], SaltSize: uint16(len(salt)),
			HashAreaOffset: verityBlock}
		want, err := verity.Create(&p, image, tree)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:], want) {
			t.Errorf("%d blocks: %x, go-dmverity has %x", blocks, got, want)
		}
		if setup == "" {
			continue
		}
		out, err := exec.Command(setup, "format", image, filepath.Join(dir, "other"), "--salt",
			hex.EncodeToString(salt[:])).CombinedOutput()
		if err != nil || !strings.Contains(string(out), hex.EncodeToString(got[:])) {
			t.Errorf("%d blocks: %x, veritysetup says %v:\n%s", blocks, got, err, out)
		}
	}
}

// TestVeritySeesEveryBlock flips a bit in each.
func TestVeritySeesEveryBlock(t *testing.T) {
	data := image(300 * verityBlock)
	root := func() [32]byte {
		got, err := Verity(context.Background(), bytes.NewReader(data), int64(len(data)), [32]byte{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	whole := root()
	for block := range 300 {
		data[block*verityBlock+block] ^= 1
		if root() == whole {
			t.Errorf("block %d is not in the root", block)
		}
		data[block*verityBlock+block] ^= 1
	}
	if root() != whole {
		t.Error("the same image has another root")
	}
}

// TestVerityRefuses what has no tree, and reports errors.
func TestVerityRefuses(t *testing.T) {
	ctx := context.Background()
	for _, size := range []int64{0, 1, verityBlock + 1} {
		if _, err := Verity(ctx, bytes.NewReader(image(int(size))), size, [32]byte{}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := Verity(ctx, bytes.NewReader(nil), verityBlock, [32]byte{}); !errs.Is(err, errs.Corrupt) {
		t.Errorf("a short image: %v", err)
	}
}
