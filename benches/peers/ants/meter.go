package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// meter measures this process from start to stop: time, CPU time, context switches and peak memory.
type meter struct {
	start  time.Time
	usage  syscall.Rusage
	memory int64
}

func begin() meter {
	runtime.GC()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak so far is forgotten
	m := meter{memory: memory("VmRSS")}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &m.usage)
	m.start = time.Now()
	return m
}

func (m meter) seconds() float64 {
	return time.Since(m.start).Seconds()
}

func (m meter) stop(tasks int) map[string]any {
	seconds := m.seconds()
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	cpu := func(usage syscall.Rusage) float64 {
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	}
	return map[string]any{
		"seconds":  seconds,
		"tasks":    tasks,
		"cpu":      cpu(usage) - cpu(m.usage),
		"switches": usage.Nvcsw + usage.Nivcsw - m.usage.Nvcsw - m.usage.Nivcsw,
		"peak":     max(memory("VmHWM")-m.memory, 0),
	}
}

// memory reads a line of /proc/self/status, in bytes; 0 where there is no such file.
func memory(name string) int64 {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if rest, found := strings.CutPrefix(line, name+":"); found {
			size, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return size << 10
		}
	}
	return 0
}
