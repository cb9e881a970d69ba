package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// notifySystemd tells the service manager how this process is (sd_notify(3));
// nothing without one. Lost messages harm nobody, so errors are the caller's
// to ignore.
func notifySystemd(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // the abstract namespace
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return errors.Join(err, c.Close())
}

// stopFinish is what a stop takes besides the drain, at most: the end of
// what was terminated, and the store's.
const stopFinish = 30 * time.Second

// stopping says that the gateway drains, and that this may take longer than
// the unit's TimeoutStopSec.
func stopping(drain time.Duration) string {
	return fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", (drain + stopFinish).Microseconds())
}

// watchdog tells the service manager twice per WatchdogSec that the gateway
// can decide: it has taken the lock that every begin and every end takes. That
// the store does not answer is no reason to be killed: live sessions outlast
// it by store_grace, and a restart does not bring it back.
func (g *gateway) watchdog(ctx context.Context) error {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || usec <= 0 || (pid != "" && pid != strconv.Itoa(os.Getpid())) {
		return nil
	}
	tick := time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			g.sessions.Live()
			_ = notifySystemd("WATCHDOG=1")
		}
	}
}
