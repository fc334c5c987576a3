// Does the work of one measurement with ants, or with what Go has itself, and prints a line of JSON.
//
//	ants '{"work": "tasks", "peer": "Pool", "workers": 8, "tasks": 100000}'
//
// benches/python does the same works with pyants and with Python's pools; benches/run starts them in turn.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// order says what to measure; the names are those of benches/run/plan_*.py.
type order struct {
	Work       string  `json:"work"`
	Peer       string  `json:"peer"`
	Workers    int     `json:"workers"`
	Queue      int     `json:"queue"`
	Tasks      int     `json:"tasks"`
	Submitters int     `json:"submitters"`
	Loops      int     `json:"loops"`    // of spin, a task
	SleepMS    float64 `json:"sleep_ms"` // a task
	PauseMS    float64 `json:"pause_ms"` // between two tasks or bursts
	Bursts     int     `json:"bursts"`
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("one argument, the order, is needed"))
	}
	wanted := order{Submitters: 1}
	if err := json.Unmarshal([]byte(os.Args[1]), &wanted); err != nil {
		fail(err)
	}
	works := map[string]func(order) map[string]any{
		"bursts":    bursts,
		"calibrate": calibrate,
		"idle":      idle,
		"latency":   latency,
		"tasks":     tasks,
		"version":   version,
	}
	work, known := works[wanted.Work]
	if !known {
		fail(fmt.Errorf("no work %q", wanted.Work))
	}
	if err := json.NewEncoder(os.Stdout).Encode(work(wanted)); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "ants:", err)
	os.Exit(1)
}

func version(order) map[string]any {
	build, _ := debug.ReadBuildInfo()
	ants := "unknown"
	for _, module := range build.Deps {
		if module.Path == "github.com/panjf2000/ants/v2" {
			ants = module.Version
		}
	}
	return map[string]any{"go": runtime.Version(), "ants": ants}
}

// spin is a task that only computes.
func spin(loops int) {
	for left := loops; left > 0; left-- {
		keep(left)
	}
}

//go:noinline
func keep(int) {}

// calibrate finds how many loops of spin take a microsecond.
func calibrate(order) map[string]any {
	const loops = 1_000_000
	best := time.Hour
	for range 20 {
		start := time.Now()
		spin(loops)
		best = min(best, time.Since(start))
	}
	return map[string]any{"loops_per_us": loops / (best.Seconds() * 1e6)}
}
