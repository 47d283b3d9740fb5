package vm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
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
	case "disk": // what is on the disk, and that it is for reading alone
		content, err := os.ReadFile(imageDisk)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		disk, err := os.OpenFile(imageDisk, os.O_RDWR, 0)
		if err == nil {
			_, err = disk.WriteAt(content[:512], 0)
		}
		if !errors.Is(err, syscall.EPERM) {
			fmt.Println("written to:", err)
			return 1
		}
		want := bytes.Repeat([]byte("0123456789abcdef"), len(content)/16)
		fmt.Printf("%d bytes, the same %t\n", len(content), bytes.Equal(content, want))
	case "boot":
		for _, name := range []string{"/proc/uptime", "/proc/mounts", "/proc/modules", "/proc/meminfo"} {
			content, _ := os.ReadFile(name)
			fmt.Printf("%s\n%s\n", name, content)
		}
	case "sleep": // until a signal
		fmt.Println("sleeping")
		never := make(chan os.Signal, 1)
		signal.Notify(never, syscall.SIGUSR1)
		<-never
	}
	return 0
}
