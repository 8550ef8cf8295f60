package tunnel

import (
	"net"
	"os"
	"testing"

	"golang.org/x/net/nettest"
)

// TestConn is Go's suite for what a net.Conn has to do, over connections between an application at TUNNEL and a service at BACKEND.
func TestConn(t *testing.T) {
	listener, err := net.Listen("tcp", os.Getenv("BACKEND"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		application, err := net.Dial("tcp", os.Getenv("TUNNEL"))
		if err != nil {
			return nil, nil, nil, err
		}
		service, err := listener.Accept()
		if err != nil {
			application.Close()
			return nil, nil, nil, err
		}
		stop := func() {
			application.Close()
			service.Close()
		}
		return application, service, stop, nil
	})
}
