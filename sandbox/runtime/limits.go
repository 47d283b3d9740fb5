package runtime

import "time"

const (
	// maxSpecBytes bounds an instance's spec file: 4,096 arguments and variables of 4 KiB would pass
	// the kernel's own limit for them (ARG_MAX), so a megabyte more than that is never honest.
	maxSpecBytes = 4 << 20
	// maxArgs and maxEnv bound what a program is started with.
	maxArgs, maxEnv = 4096, 4096
	// maxVolumes and maxPorts bound what one sandbox shows of the host and shows to it.
	maxVolumes, maxPorts = 64, 64
	// maxLayers bounds the file systems beside the root: each is a descriptor and a mount.
	maxLayers = 64
	// maxTrailBytes bounds one sandbox's trail: some hundred million records. A sandbox that fills it
	// is ended, as one whose disk is full is.
	maxTrailBytes = 16 << 30
	// maxNamesakes bounds the trails kept under one name: a job that runs hourly for eleven years.
	maxNamesakes = 100_000
	// maxPool bounds the sandboxes that wait in one pool: at 30 MB each some gigabytes.
	maxPool = 128
	// maxTaken bounds the sandboxes of one pool that run at once besides.
	maxTaken = 1024
	// maxStrangers bounds the connections of others that are turned away while one of ours is made.
	maxStrangers = 16
	// fillAtOnce bounds how many boot at a time: booting is work of the processor alone.
	fillAtOnce = 4
	// ringBytes is the room for records between kernel and collector: at 100 bytes each it holds
	// 40,000, some tens of milliseconds of the fullest audit, so that the collector's own pauses are
	// not the program's.
	ringBytes = 4 << 20
	// bootPatience is how long a sandbox may take from its supervisor's start to its birth record.
	// A loaded machine needs seconds; one that needs a minute will not get better.
	bootPatience = 60 * time.Second
	// machinePatience is the same for a virtual machine: software emulation takes a minute.
	machinePatience = 4 * time.Minute
	// stopPatience is how long a supervisor that was asked to end waits for the program to.
	stopPatience = 10 * time.Second
	// maxControlMessage bounds one message of the control socket.
	maxControlMessage = 128 << 10
	// logBytes and logFiles bound the captured output of one sandbox: four files of 8 MiB.
	logBytes, logFiles = 8 << 20, 4
	// cpuPeriod is the accounting period that CPU limits are stated over, in microseconds.
	cpuPeriod = 100_000
)
