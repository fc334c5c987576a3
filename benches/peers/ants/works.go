package main

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// tasks: the time from the first submit until the last task is done.
func tasks(wanted order) map[string]any {
	pool := newPeer(wanted)
	defer pool.close()
	sleep := time.Duration(wanted.SleepMS * float64(time.Millisecond))
	var done, submitters sync.WaitGroup
	task := func() {
		if wanted.Loops > 0 {
			spin(wanted.Loops)
		}
		if sleep > 0 {
			time.Sleep(sleep)
		}
		done.Done()
	}
	done.Add(wanted.Tasks)
	meter := begin()
	for first := range wanted.Submitters {
		submitters.Add(1)
		go func() {
			defer submitters.Done()
			for n := first; n < wanted.Tasks; n += wanted.Submitters {
				pool.submit(task)
			}
		}()
	}
	submitters.Wait()
	submitting := meter.seconds()
	done.Wait()
	result := meter.stop(wanted.Tasks)
	result["submitting"] = submitting
	return result
}

// idle: the memory of workers that have nothing to do.
func idle(wanted order) map[string]any {
	pool := newPeer(wanted)
	defer pool.close()
	debug.FreeOSMemory()
	before := memory("VmRSS")
	gate := make(chan struct{})
	var done sync.WaitGroup
	done.Add(wanted.Workers)
	meter := begin()
	for range wanted.Workers {
		pool.submit(func() { <-gate; done.Done() })
	}
	close(gate)
	done.Wait()
	result := meter.stop(wanted.Workers)
	runtime.Gosched()
	time.Sleep(200 * time.Millisecond)
	result["bytes_each"] = float64(memory("VmRSS")-before) / float64(wanted.Workers)
	return result
}

// latency: from submit to the task's start, and to the submitter's having its result; one task at a time.
func latency(wanted order) map[string]any {
	pool := newPeer(wanted)
	defer pool.close()
	pause := time.Duration(wanted.PauseMS * float64(time.Millisecond))
	results := make(chan time.Time, 1)
	starts, ends := make([]float64, 0, wanted.Tasks), make([]float64, 0, wanted.Tasks)
	meter := begin()
	for range wanted.Tasks {
		time.Sleep(pause)
		submitted := time.Now()
		pool.submit(func() { results <- time.Now() })
		started := <-results
		ends = append(ends, float64(time.Since(submitted).Nanoseconds())/1e3)
		starts = append(starts, float64(started.Sub(submitted).Nanoseconds())/1e3)
	}
	result := meter.stop(wanted.Tasks)
	result["start_us"], result["result_us"] = starts, ends
	return result
}

// bursts: tasks all at once, with pauses between in which the workers idle.
func bursts(wanted order) map[string]any {
	pool := newPeer(wanted)
	defer pool.close()
	var done sync.WaitGroup
	total, times := 0.0, []float64{}
	meter := begin()
	for range wanted.Bursts {
		time.Sleep(time.Duration(wanted.PauseMS * float64(time.Millisecond)))
		start := time.Now()
		done.Add(wanted.Tasks)
		for range wanted.Tasks {
			pool.submit(done.Done)
		}
		done.Wait()
		took := time.Since(start)
		total += took.Seconds()
		times = append(times, took.Seconds()*1e6)
	}
	result := meter.stop(wanted.Tasks * wanted.Bursts)
	result["seconds"], result["burst_us"] = total, times
	return result
}
