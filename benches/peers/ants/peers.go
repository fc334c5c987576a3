package main

import (
	"fmt"
	"time"

	"github.com/panjf2000/ants/v2"
)

// peer runs tasks; close lets its goroutines go.
type peer struct {
	submit func(task func())
	close  func()
}

// expiry is long enough for no worker to leave during a measurement.
const expiry = time.Minute

func newPeer(wanted order) peer {
	workers := wanted.Workers
	switch wanted.Peer {
	case "Pool":
		pool := must(ants.NewPool(workers, ants.WithExpiryDuration(expiry)))
		return peer{func(task func()) { check(pool.Submit(task)) }, pool.Release}
	case "PoolWithFunc":
		run := func(task any) { task.(func())() }
		pool := must(ants.NewPoolWithFunc(workers, run, ants.WithExpiryDuration(expiry)))
		return peer{func(task func()) { check(pool.Invoke(task)) }, pool.Release}
	case "MultiPool":
		pools := min(10, workers/2)
		pool := must(ants.NewMultiPool(pools, workers/pools, ants.RoundRobin, ants.WithExpiryDuration(expiry)))
		return peer{func(task func()) { check(pool.Submit(task)) }, func() { check(pool.ReleaseTimeout(expiry)) }}
	case "goroutines": // no limit
		return peer{func(task func()) { go task() }, func() {}}
	case "semaphore": // a goroutine for each task, at most so many at once
		semaphore := make(chan struct{}, workers)
		submit := func(task func()) {
			semaphore <- struct{}{}
			go func() { task(); <-semaphore }()
		}
		return peer{submit, func() {}}
	case "channel": // so many goroutines that share a channel
		tasks := make(chan func(), wanted.Queue)
		for range workers {
			go func() {
				for task := range tasks {
					task()
				}
			}()
		}
		return peer{func(task func()) { tasks <- task }, func() { close(tasks) }}
	}
	fail(fmt.Errorf("no peer %q", wanted.Peer))
	return peer{}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}
