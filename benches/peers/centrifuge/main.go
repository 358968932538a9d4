// Command centrifuge is the peer of `make bench` for fan-out: the centrifuge library as a server of one channel, which each connection is
// subscribed to by the server. Each line that comes by TCP to the second address is published, as it is.
//
//	centrifuge WEBSOCKET_ADDRESS LINES_ADDRESS
package main

import (
	"bufio"
	"context"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/centrifugal/centrifuge"
)

const channel = "devices"

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: centrifuge WEBSOCKET_ADDRESS LINES_ADDRESS")
	}
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:    &centrifuge.Credentials{},
			Subscriptions:  map[string]centrifuge.SubscribeOptions{channel: {}},
			PingPongConfig: &centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1},
		}, nil
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	lines, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	go serveLines(node, lines)
	// Its manual: a pool of write buffers for many connections.
	http.Handle("/ws", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{UseWriteBufferPool: true}))
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}

// serveLines publishes what one connection after the other sends.
func serveLines(node *centrifuge.Node, lines net.Listener) {
	for {
		connection, err := lines.Accept()
		if err != nil {
			log.Fatal(err)
		}
		scanner := bufio.NewScanner(connection)
		for scanner.Scan() {
			// The library keeps what it is given.
			if _, err := node.Publish(channel, append([]byte(nil), scanner.Bytes()...)); err != nil {
				log.Fatal(err)
			}
		}
		_ = connection.Close()
	}
}
