package pgproxy

import (
	"bytes"
	"net"
	"syscall"
	"testing"
	"time"

	"jit-gateway/recording"
)

// BenchmarkRelay measures one transaction of a simple query through the two
// directions of a session over loopback, with its statements on record and
// without: the difference is what the record costs. The CPU time is that of
// the whole process, client and server of the benchmark included.
func BenchmarkRelay(b *testing.B) {
	b.Run("recorded", func(b *testing.B) {
		w := benchRecorder(b)
		benchRelay(b, func(s *recording.SQL) error { return w.SQL(0, s) })
		if _, err := w.Seal("logout"); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("not recorded", func(b *testing.B) { benchRelay(b, func(*recording.SQL) error { return nil }) })
}

func benchRecorder(b *testing.B) *recording.Writer {
	b.Helper()
	d, err := recording.OpenDir(b.TempDir(), recording.DirOptions{Reserve: -1})
	if err != nil {
		b.Fatal(err)
	}
	w, err := d.Create(recording.Header{Session: "S1", Protocol: "postgres"}, recording.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return w
}

func benchRelay(b *testing.B, record func(*recording.SQL) error) {
	client, front := tcpPair(b)
	back, server := tcpPair(b)
	begun := time.Now()
	l := &link{client: front, up: &upstream{conn: back}, tr: newTracker(record, func() time.Duration { return time.Since(begun) })}
	l.prepare()
	over := make(chan error, 2)
	go func() { over <- l.c2s.run() }()
	go func() { over <- l.s2c.run() }()

	query := message('Q', []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 471147;"), []byte{0})
	answer := bytes.Join([][]byte{
		message('T', []byte("\x00\x01abalance\x00\x00\x00\x40\x00\x00\x03\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00")),
		message('D', []byte("\x00\x01\x00\x00\x00\x010")), message('C', []byte("SELECT 1\x00")), message('Z', []byte("I")),
	}, nil)
	go echo(server, len(query), answer)

	got := make([]byte, len(answer))
	before := cpuTime()
	for b.Loop() {
		if _, err := client.Write(query); err != nil {
			b.Fatal(err)
		}
		if err := readFull(client, got); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	client.Close()
	server.Close()
	<-over
	<-over
}

// echo answers every size bytes.
func echo(conn net.Conn, size int, answer []byte) {
	buf := make([]byte, size)
	for readFull(conn, buf) == nil {
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

func readFull(conn net.Conn, buf []byte) error {
	for n := 0; n < len(buf); {
		k, err := conn.Read(buf[n:])
		if err != nil {
			return err
		}
		n += k
	}
	return nil
}

func tcpPair(b *testing.B) (near, far net.Conn) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLook is what one transaction of a prepared statement costs between
// the sockets: its messages found, its statement and outcome on record.
func BenchmarkLook(b *testing.B) {
	w := benchRecorder(b)
	begun := time.Now()
	l := &link{up: &upstream{}, tr: newTracker(func(s *recording.SQL) error { return w.SQL(0, s) }, func() time.Duration { return time.Since(begun) })}
	l.prepare()
	sync := message('S')
	parse := append(message('P', []byte("P_0\x00SELECT abalance FROM pgbench_accounts WHERE aid = $1;\x00"), []byte{0, 0}), sync...)
	run := append(append(message('B', []byte("\x00P_0\x00\x00\x00\x00\x01\x00\x00\x00\x06471147\x00\x00")), append(message('D', []byte("P\x00")), message('E', []byte{0, 0, 0, 0, 0})...)...), sync...)
	ready := message('Z', []byte("I"))
	parsed := append(message('1'), ready...)
	answer := bytes.Join([][]byte{message('2'),
		message('T', []byte("\x00\x01abalance\x00\x00\x00\x40\x00\x00\x03\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00")),
		message('D', []byte("\x00\x01\x00\x00\x00\x010")), message('C', []byte("SELECT 1\x00")), ready}, nil)
	look := func(look func(*pump, []byte) (int, error), p *pump, chunk []byte) {
		if _, err := look(p, chunk); err != nil {
			b.Fatal(err)
		}
	}
	look(l.lookClient, &l.c2s, parse)
	look(l.lookServer, &l.s2c, parsed)
	b.ReportAllocs()
	before := cpuTime()
	for b.Loop() {
		look(l.lookClient, &l.c2s, run)
		look(l.lookServer, &l.s2c, answer)
	}
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	if _, err := w.Seal("logout"); err != nil {
		b.Fatal(err)
	}
}
