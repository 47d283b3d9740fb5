package vm

import (
	"time"

	"surety/base/clock"
)

const (
	// probePatience is how long a guest of 454 bytes gets to run 64-bit code: it needs
	// milliseconds where it works at all, and where it does not it hangs for ever.
	probePatience = 2 * time.Second
	// versionPatience bounds asking QEMU for its version.
	versionPatience = 5 * time.Second

	// maxPayload bounds one message on a port. Requests carry a policy of at most MaxRules rules
	// and arguments; both are far below.
	maxPayload = 4 << 20
	// maxChunk bounds one message of stream or trail bytes: what virtio-serial moves at once
	// without holding up the other streams of the port for long.
	maxChunk = 32 << 10
	// windowBytes is how much of a stream may be under way before its reader has taken any: twice
	// what a pipe holds, so that the port's round trip does not stop a writer.
	windowBytes = 128 << 10
	// maxStreams bounds the streams open at once: three for each process, and more processes than
	// this are not started from outside.
	maxStreams = 3 * maxProcesses
	// maxProcesses bounds the processes started from outside that run at the same time.
	maxProcesses = 64

	// trailWindow is how many bytes of the trail the guest sends before the collector outside
	// acknowledges some: large enough for a busy ring, small enough to be held twice.
	trailWindow = 1 << 20

	// trailBatch is about how many bytes of it the collector gets at once.
	trailBatch = 128 << 10

	// consoleTail is how much of the guest's console is kept: a kernel's panic with its trace.
	consoleTail = 16 << 10

	// maxImage bounds an image that a guest copies into memory.
	maxImage = 8 << 30

	// guestMemory is what the guest needs besides the image and the program: its kernel, this
	// binary twice (as a file and as processes) and our kernel's own memory.
	guestMemory = 448 << 20
	// programMemory is the program's share where its limit does not say.
	programMemory = 256 << 20
	// maxMemory bounds the machine.
	maxMemory = 256 << 30
	// maxCPUs is what QEMU's microvm machine takes.
	maxCPUs = 32

	// bootPatience is how long a guest gets to say hello: seconds under emulation on a machine
	// that has nothing else to do, and this is for one that has.
	bootPatience = 2 * time.Minute
	// endPatience is how long a guest that was told to end gets before it is killed.
	endPatience = 5 * time.Second
	// drainPatience is how long the streams of a process that has ended are read on: only a child
	// that it left behind can hold them open.
	drainPatience = 2 * time.Second
	// noticeTime is how long an error waits for the machine's end, which may be its cause.
	noticeTime = time.Second
	// nameTime bounds how long a name's answer waits for the guest to take note of it.
	nameTime = 5 * time.Second

	// paceTime is how long the host's counter is measured: a reading is good to a microsecond or
	// two, so the guest's clock to one in ten thousand.
	paceTime = 20 * clock.Millisecond
	// paceReadings is how often each end of it is read, against interruptions.
	paceReadings = 16
	// deviceWait is how often the guest looks again for a port whose coming was not announced.
	deviceWait = 20 * time.Millisecond

	// keptArchives is how many initial file systems the cache holds: of this binary, and of the
	// one before it.
	keptArchives = 2
	// maxModules bounds the modules that one driver may pull in.
	maxModules = 64
	// maxModuleBytes bounds a module's file.
	maxModuleBytes = 16 << 20
)
