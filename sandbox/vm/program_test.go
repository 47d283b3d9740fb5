package vm

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"
)

// program is what runs in the guest of a test.
func program(args []string) int {
	switch args[0] {
	case "hello":
		fmt.Println("hello from", os.Getpid())
		fmt.Fprintln(os.Stderr, "and a complaint")
		return 7
	case "cat": // what comes in goes out, until the input ends
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return 1
		}
	case "much": // args[1] bytes
		n, _ := strconv.Atoi(args[1])
		out := bufio.NewWriter(os.Stdout)
		for i := range n {
			out.WriteByte(byte(i % 251))
		}
		out.Flush()
	case "image": // what the image's SHA-256 is
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(os.NewFile(3, "image"), 0, 1<<40)); err != nil {
			fmt.Println(err)
			return 1
		}
		_, err := os.NewFile(3, "image").WriteAt([]byte("x"), 0)
		fmt.Printf("%x, writing says %v\n", sum.Sum(nil), err)
	case "boot":
		for _, name := range []string{"/proc/uptime", "/proc/mounts", "/proc/modules", "/proc/meminfo"} {
			content, _ := os.ReadFile(name)
			fmt.Printf("%s\n%s\n", name, content)
		}
	case "sleep": // until a signal
		fmt.Println("sleeping")
		select {}
	}
	return 0
}
